"""Transactional publishing: events that a commit appends to the log.

    writer   `publish_event`, called inside a transaction
    relay    appends committed events that the writer could not append

Imports `events.archive`, `events.streams` and the leaf modules of `events`.
"""

from events.outbox.writer import publish_event

__all__ = ["publish_event"]
