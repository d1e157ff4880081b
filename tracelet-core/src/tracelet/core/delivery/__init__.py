"""The outbox and its drafts, couriers, attempts and their backoff.

A courier makes deliveries in order: what a caller waits for first, then what waits in the outbox; and of
one artifact's name always the older one first, so that ``latest`` is the latest. What fails for a
reason that may pass goes to the outbox before its caller hears of it.
"""
