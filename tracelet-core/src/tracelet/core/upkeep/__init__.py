"""What keeps a tracelet directory in order: sending what waits, clearing garbage, and looking after the rest."""

from tracelet.core.upkeep.checks import Check, Verdict, check_up
from tracelet.core.upkeep.cleaning import SHORTEST_AGE, Collected, Swept, collect
from tracelet.core.upkeep.noting import LeftUse, note_uses
from tracelet.core.upkeep.sending import Delivery, DeliveryState, SyncReport, sync

__all__ = [
    "SHORTEST_AGE",
    "Check",
    "Collected",
    "Delivery",
    "DeliveryState",
    "LeftUse",
    "Swept",
    "SyncReport",
    "Verdict",
    "check_up",
    "collect",
    "note_uses",
    "sync",
]
