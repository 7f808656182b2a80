"""Logs as tests of a Django project have them: archive, outbox and stream."""

from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connection

from events.archive.store import logs_in_outbox
from events.models import ArchivedEvent
from events.outbox.relay import append_pending
from events.outbox.writer import redis_breaker
from events.processor.steps import build_steps
from events.streams.clients import get_redis, redis_clients
from events.testing.job_events import JobEvents
from events.testing.streams import read_stream
from events.transfer.export import iter_pages
from events.types import OUTBOX, Event, Producer

P = ParamSpec("P")
T = TypeVar("T")

_LOGS: Final = 1000


class ProjectJobEvents(JobEvents):
    """The logs of one test of a Django project that has `events` in INSTALLED_APPS."""

    def __init__(self, url: str, prefix: str) -> None:
        super().__init__(url, prefix, redis_clients)
        redis_breaker.record_success()  # an earlier test may have run without Redis

    def events(self, job_id: str) -> list[Event]:
        """The whole log of a job; empty if nothing was published to it.

        A test that may not use the database has archived nothing: for it, that is the stream.
        """
        self._check_settings()
        return read_log(job_id)

    def process(self) -> None:
        """Do what `manage.py process_events` does, until there is nothing left to do.

        What stands in the outbox is appended to the streams, also that of a transaction which the
        test never commits; streams are archived; jobs follow their logs.
        """
        self._check_settings()
        for _, job_id in logs_in_outbox(0, limit=_LOGS):
            append_pending(job_id)
        steps = list(build_steps(single_pass=True).values())
        while sum(step() for step in steps):
            pass

    async def _in_thread(self, function: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        __tracebackhide__ = True
        return await in_thread(function, *given, **named)

    def _hint(self, job_id: str, events: list[Event]) -> str:
        return outbox_hint(job_id, events) or super()._hint(job_id, events)


async def in_thread(function: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """Call a function in the thread for the database, and leave no connection open there.

    Channels' twin looks at the connections first, which a test may not that has no database.
    """
    __tracebackhide__ = True

    def call() -> T:
        __tracebackhide__ = True
        try:
            return function(*given, **named)
        finally:
            if _may_query():
                close_old_connections()

    return await sync_to_async(call)()


def read_log(job_id: str) -> list[Event]:
    """The whole log of a job; of a test that may not use the database, its stream."""
    if not _may_query():
        return read_stream(get_redis(), job_id)
    return [event for page in iter_pages(job_id) for event in page]


def outbox_hint(job_id: str, events: list[Event]) -> str:
    """A sentence if some events are only in the outbox, as in a test that commits nothing."""
    if not _may_query():
        return ""
    producers = [Producer.parse(event.producer) for event in events]
    appended = {each.sequence for each in producers if each and each.id == OUTBOX}
    rows = ArchivedEvent.objects.filter(log__job_id=job_id, event_id=None).order_by("sequence")
    waiting = [name for number, name in rows.values_list("sequence", "event_type")
               if number not in appended]  # fmt: skip
    if not waiting:
        return ""
    return (
        f"{len(waiting)} more in the outbox, not committed: {', '.join(waiting)}. Mark the test"
        " django_db(transaction=True), or use django_capture_on_commit_callbacks(execute=True), or"
        " call job_events.process() before."
    )


def _may_query() -> bool:
    """Whether the test may use the database; pytest-django refuses by a RuntimeError."""
    try:
        connection.ensure_connection()
    except RuntimeError:
        return False
    return True
