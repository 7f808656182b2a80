"""ProjectJobEvents: the logs of a test in a Django project, with archive, outbox and stream."""

from collections.abc import Callable
from typing import Final, TypeVar

from asgiref.sync import sync_to_async
from django.db import close_old_connections

from events.archive.store import logs_in_outbox
from events.database import write_connection
from events.models import ArchivedEvent
from events.outbox.relay import append_pending
from events.outbox.writer import redis_breaker
from events.processor.processor import build_steps
from events.testing.job_events import JobEvents, read_stream
from events.transfer.export import iter_pages
from events.types import OUTBOX, Event, Producer

T = TypeVar("T")

_MAX_OUTBOX_LOGS: Final = 1000


class ProjectJobEvents(JobEvents):
    """The logs of one test of a Django project that has `events` in INSTALLED_APPS."""

    def __init__(self, url: str, prefix: str) -> None:
        super().__init__(url, prefix)
        redis_breaker.record_success()  # an earlier test may have run without Redis

    def events(self, job_id: str) -> list[Event]:
        self._check_settings()
        return read_log(job_id)

    def process(self) -> None:
        self._check_settings()
        # Also those of a transaction that the test does not commit.
        for _, job_id in logs_in_outbox(0, limit=_MAX_OUTBOX_LOGS):
            append_pending(job_id)
        steps = list(build_steps(single_pass=True).values())
        while sum(step() for step in steps):
            pass

    async def _in_thread(self, function: Callable[[], T]) -> T:
        __tracebackhide__ = True
        return await in_thread(function)

    def _hint(self, job_id: str, events: list[Event]) -> str:
        return outbox_hint(job_id, events) or super()._hint(job_id, events)


async def in_thread(function: Callable[[], T]) -> T:
    """Call a function in the database thread, and close the thread's connections.

    Unlike Channels' database_sync_to_async, it works in tests without database access.
    """
    __tracebackhide__ = True

    def call() -> T:
        __tracebackhide__ = True
        try:
            return function()
        finally:
            if _has_database_access():
                close_old_connections()

    return await sync_to_async(call)()


def read_log(job_id: str) -> list[Event]:
    """Return the whole log of a job; the stream in tests without database access."""
    if not _has_database_access():
        return read_stream(job_id)
    return [event for page in iter_pages(job_id) for event in page]


def outbox_hint(job_id: str, events: list[Event]) -> str:
    """Return a hint if further events are only in the outbox, because no transaction committed."""
    if not _has_database_access():
        return ""
    producers = [Producer.parse(event.producer) for event in events]
    appended = {each.sequence for each in producers if each and each.id == OUTBOX}
    rows = ArchivedEvent.objects.filter(log__job_id=job_id, event_id=None).order_by("sequence")
    pending = [event_type for sequence, event_type in rows.values_list("sequence", "event_type")
               if sequence not in appended]  # fmt: skip
    if not pending:
        return ""
    return (
        f"{len(pending)} more in the outbox, not committed: {', '.join(pending)}. Mark the test"
        " django_db(transaction=True), or use django_capture_on_commit_callbacks(execute=True), or"
        " call job_events.process() first."
    )


def _has_database_access() -> bool:
    """Return whether the test may use the database; otherwise pytest-django raises RuntimeError."""
    try:
        write_connection().ensure_connection()
    except RuntimeError:
        return False
    return True
