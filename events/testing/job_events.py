"""What the fixture `job_events` gives a test: the logs of that test alone, in Redis."""

import asyncio
from collections.abc import Callable, Iterable
from os import PathLike
from typing import NoReturn, ParamSpec, TypeVar

from events.conf import event_settings
from events.exceptions import EventsError
from events.publisher import RedisStreamPublisher, SyncRedisStreamPublisher
from events.streams.clients import RedisClients
from events.testing.assertions import Expected, check_events
from events.testing.streams import read_stream
from events.transfer.republish import read_recording, republish, write_recording
from events.types import Event

P = ParamSpec("P")
T = TypeVar("T")


class JobEvents:
    """The logs of one test, which nobody else writes to or reads.

    Where there is no Django project, they are in Redis alone; `ProjectJobEvents` has the rest.
    `url` is the Redis, `prefix` what stands before a job_id in the key of its stream.
    """

    def __init__(self, url: str, prefix: str, clients: RedisClients) -> None:
        self.url = url
        self.prefix = prefix
        self._clients = clients

    @property
    def publisher(self) -> SyncRedisStreamPublisher:
        """A publisher to these logs, for what a test publishes by itself."""
        self._check_settings()
        return SyncRedisStreamPublisher(self._clients.sync())

    @property
    def async_publisher(self) -> RedisStreamPublisher:
        """Its async twin, for the running event loop."""
        self._check_settings()
        return RedisStreamPublisher(self._clients.of_running_loop())

    def events(self, job_id: str) -> list[Event]:
        """The whole log of a job; empty if nothing was published to it."""
        self._check_settings()
        return read_stream(self._clients.sync(), job_id)

    async def aevents(self, job_id: str) -> list[Event]:
        """The async twin of `events`."""
        return await self._in_thread(self.events, job_id)

    def assert_events(self, job_id: str, expected: Iterable[Expected]) -> None:
        """Raise AssertionError, with the whole log, unless these are its events, in this order.

        An item is an event's type, a dict that its data has (it may have more), both as a pair, or
        `...` for any number of other events.
        """
        __tracebackhide__ = True
        events = self.events(job_id)
        check_events(job_id, events, expected, lambda: self._hint(job_id, events))

    async def aassert_events(self, job_id: str, expected: Iterable[Expected]) -> None:
        """The async twin of `assert_events`."""
        __tracebackhide__ = True
        await self._in_thread(self.assert_events, job_id, expected)

    def record(self, job_id: str, path: str | PathLike[str]) -> int:
        """Write a job's log as NDJSON, as the export does; returns how many events it has.

        Raises EventsError for an empty log, of which there is nothing to record.
        """
        events = self.events(job_id)
        if not events:
            raise EventsError(f"There is no event of {job_id} to record.")
        write_recording(events, path)
        return len(events)

    def replay(
        self, path: str | PathLike[str], *, job_id: str | None = None, speed: float | None = None
    ) -> int:
        """Publish a recording, or an export, as the log of `job_id`; returns how many events.

        Without `job_id`, as that of the job that was recorded. At once, or with `speed` in the
        time that it took, divided by that. The events have the time of now. Raises InvalidEvent
        for what is no recording.
        """
        return republish(self.publisher, read_recording(path, job_id), speed)

    def process(self) -> None:
        """Do what `manage.py process_events` does, until there is nothing left to do."""
        _refuse_without_project()

    async def _in_thread(self, function: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        __tracebackhide__ = True
        return await asyncio.to_thread(function, *given, **named)

    def _hint(self, job_id: str, events: list[Event]) -> str:
        """What may be the reason if a log is not what was expected."""
        if events:
            return ""
        return (
            "A publisher that is made before the test, as when its module is imported, publishes"
            " elsewhere."
        )

    def _check_settings(self) -> None:
        """Whoever replaces JOB_EVENTS as a whole also replaces where these logs are."""
        there = (event_settings.REDIS_URL, event_settings.STREAM_PREFIX)
        if there != (self.url, self.prefix):
            raise EventsError(
                "JOB_EVENTS was replaced after job_events had set it, so that events go to another"
                ' Redis: write settings.JOB_EVENTS = {**settings.JOB_EVENTS, "...": ...}.'
            )


def _refuse_without_project() -> NoReturn:
    raise EventsError(
        "process() needs a Django project with `events` in INSTALLED_APPS, set up by pytest-django:"
        " pip install 'django-job-events[pytest]'"
    )
