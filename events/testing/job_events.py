"""JobEvents: the object of the fixture `job_events`, with the logs of one test."""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TypeVar

from events.conf import event_settings
from events.exceptions import EventsError
from events.publisher import RedisStreamPublisher, SyncRedisStreamPublisher
from events.streams import commands
from events.streams.clients import get_async_redis, get_redis, send_command
from events.streams.keys import StreamKeys
from events.testing.assertions import Expected, check_events
from events.transfer.ndjson import ndjson, read_lines
from events.transfer.republish import republish
from events.types import Event

T = TypeVar("T")


class JobEvents:
    """The logs of one test, isolated from other tests.

    Without a Django project they are in Redis only; ProjectJobEvents adds archive and outbox.
    `url` is the URL of Redis, `prefix` the prefix of stream keys.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self.url = url
        self.prefix = prefix

    @property
    def publisher(self) -> SyncRedisStreamPublisher:
        """A publisher to these logs."""
        self._check_settings()
        return SyncRedisStreamPublisher(get_redis())

    @property
    def async_publisher(self) -> RedisStreamPublisher:
        """An async publisher to these logs, for the running event loop."""
        self._check_settings()
        return RedisStreamPublisher(get_async_redis())

    def events(self, job_id: str) -> list[Event]:
        """Return the whole log of a job; empty if it has no events."""
        self._check_settings()
        return read_stream(job_id)

    async def aevents(self, job_id: str) -> list[Event]:
        return await self._in_thread(partial(self.events, job_id))

    def assert_events(self, job_id: str, expected: Iterable[Expected]) -> None:
        """Raise AssertionError, with the whole log, unless the log has exactly the expected events.

        An item is an event type, a dict that the event's data contains, a pair of both, or `...`
        for any number of events.
        """
        __tracebackhide__ = True
        events = self.events(job_id)
        check_events(job_id, events, expected, lambda: self._hint(job_id, events))

    async def aassert_events(self, job_id: str, expected: Iterable[Expected]) -> None:
        __tracebackhide__ = True
        await self._in_thread(partial(self.assert_events, job_id, expected))

    def record(self, job_id: str, path: str | PathLike[str]) -> int:
        """Write a log as NDJSON in the format of the export; return the number of events.

        Missing directories are created. Raises EventsError for an empty log.
        """
        events = self.events(job_id)
        if not events:
            raise EventsError(f"The log of {job_id} has no event to record.")
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(ndjson(events))
        return len(events)

    def replay(
        self, path: str | PathLike[str], *, job_id: str | None = None, speed: float | None = None
    ) -> int:
        """Publish a recording or an export to the log of a job; return the number of events.

        The default of `job_id` is the recorded job. With `speed`, the recorded intervals are kept,
        divided by it; otherwise all events are published at once. Timestamps are those of the
        replay. Raises InvalidEvent for an invalid recording.
        """
        with Path(path).open("rb") as lines:
            events = list(read_lines(lines, job_id))
        return republish(self.publisher, events, speed)

    def process(self) -> None:
        """Run the steps of `manage.py process_events` until no work is left."""
        raise EventsError(
            "process() needs a Django project with `events` in INSTALLED_APPS, set up by"
            " pytest-django: pip install 'django-job-events[pytest]'"
        )

    async def _in_thread(self, function: Callable[[], T]) -> T:
        __tracebackhide__ = True
        return await asyncio.to_thread(function)

    def _hint(self, job_id: str, events: list[Event]) -> str:
        """Return a possible reason for a mismatch."""
        if events:
            return ""
        return (
            "A publisher that is created before the test, for example at import, publishes to other"
            " logs."
        )

    def _check_settings(self) -> None:
        """Raise EventsError if a test has replaced JOB_EVENTS, and so the address of the logs."""
        if (self.url, self.prefix) != (event_settings.REDIS_URL, event_settings.STREAM_PREFIX):
            raise EventsError(
                "JOB_EVENTS was replaced after job_events had set it, so that events go to another"
                ' Redis: write settings.JOB_EVENTS = {**settings.JOB_EVENTS, "...": ...}.'
            )


def read_stream(job_id: str) -> list[Event]:
    """Return all events of a stream. Raises InvalidJobId, NotAStream, RedisUnavailable."""
    key = StreamKeys(event_settings.STREAM_PREFIX).stream(job_id)
    return commands.events_of_xrange(job_id, send_command(get_redis(), ("XRANGE", key, "-", "+")))
