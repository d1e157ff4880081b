"""Fan-out: one courier a backend, each with a thread and a lane of its own; reads have lanes of their own.

A courier makes deliveries in order: what a caller waits for first, then what waits in the outbox; and of
one artifact's name always the older one first, so that ``latest`` is the latest. What fails for a
reason that may pass goes to the outbox before its caller hears of it.
"""

from tracelet.core.delivery.attempts import Attempts
from tracelet.core.delivery.courier import Courier, Task, close_all
from tracelet.core.delivery.lineage import Lineage
from tracelet.core.delivery.outcomes import Outcome, limit_for, run_ended, unwritable
from tracelet.core.delivery.reader import Reader
from tracelet.core.delivery.sealer import Sealer
from tracelet.core.delivery.threads import Promise, all_at_once, beside

__all__ = [
    "Attempts",
    "Courier",
    "Lineage",
    "Outcome",
    "Promise",
    "Reader",
    "Sealer",
    "Task",
    "all_at_once",
    "beside",
    "close_all",
    "limit_for",
    "run_ended",
    "unwritable",
]
