"""News of jobs, for lists that are shown live: which are new, and what has changed of them.

Whoever changes a job says so by the project's channel layer, if it has one
(`jobs.live.notifier`). That only wakes up the processes in which somebody shows jobs, and may be
lost: these look into the database, as they do every few seconds anyway.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, cast

from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.apps import apps
from django.db import connection

from events.per_loop import PerLoop
from jobs.access.session_guard import Connection
from jobs.api.serializers import JobListSerializer
from jobs.live.notifier import GROUP
from jobs.selectors import visible_jobs

logger = logging.getLogger(__name__)

# The newest of the jobs that a user may see, which are looked at whether woken up or not.
_NEWEST: Final = 100
# Seconds: between two looks, for what comes at once, and for a channel, which a layer forgets.
_OFTEN: Final = 5.0
_TOGETHER: Final = 0.1
_RENEW: Final = 3600.0
# Seconds that a layer may take to let us join.
_PATIENCE: Final = 2.0

Row = dict[str, Any]


class JobListSubscription:
    """One list that is shown to a user; of each job it has the latest news that nobody took yet."""

    def __init__(self, admission: Connection) -> None:
        self.admission = admission
        self._live = asyncio.Event()
        self._some = asyncio.Event()
        self._rows: dict[str, Row] = {}

    async def live(self) -> None:
        """Wait until nothing is missed any more."""
        await self._live.wait()

    async def next(self) -> list[Row]:
        """Wait for news: the jobs that are new or have changed, as the API's list has them."""
        await self._some.wait()
        self._some.clear()
        rows, self._rows = self._rows, {}
        return list(rows.values())

    def begin(self) -> None:
        """From now on, whatever happens is told."""
        self._live.set()

    def take(self, rows: Iterable[Row]) -> None:
        """Take news."""
        self._rows.update((row["job_id"], row) for row in rows)
        self._some.set()


class JobListHub:
    """Looks for the lists of an event loop, as long as there are any."""

    def __init__(self, forget: Callable[[], None]) -> None:
        self._forget = forget
        self._listings: set[JobListSubscription] = set()
        self._new: list[JobListSubscription] = []
        self._known: dict[Any, dict[str, Row]] = {}
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        self._hears = asyncio.Event()  # or the layer does not answer
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, listing: JobListSubscription) -> None:
        """Give it news."""
        self._listings.add(listing)
        self._new.append(listing)
        self._wake.set()
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._look()), asyncio.create_task(self._listen())]

    def remove(self, listing: JobListSubscription) -> None:
        """The list is gone; with the last one, so are the news."""
        self._listings.discard(listing)
        if not self._listings and self._tasks:
            self._forget()
            for task in self._tasks:
                task.cancel()
            self._tasks = []

    async def _listen(self) -> None:
        """Be woken up by the channel layer."""
        layer: Any = get_channel_layer()
        if layer is None:
            self._hears.set()
        while layer is not None:
            try:
                async with asyncio.timeout(_PATIENCE):
                    channel = await layer.new_channel("jobs")
                    await layer.group_add(GROUP, channel)
                try:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_RENEW):
                            await self._hear(layer, channel)
                finally:
                    async with asyncio.timeout(_PATIENCE):
                        await layer.group_discard(GROUP, channel)
            except Exception as error:  # noqa: BLE001 - it may be back later
                logger.warning("news_not_heard", extra={"error": repr(error)})
                self._hears.set()
                await asyncio.sleep(_OFTEN)

    async def _hear(self, layer: Any, channel: str) -> None:
        self._hears.set()
        while True:
            message = await layer.receive(channel)
            self._changed.add(message["job_id"])
            self._wake.set()

    async def _look(self) -> None:
        look = sync_to_async(_seen, thread_sensitive=False)
        await self._hears.wait()
        while True:
            try:
                async with asyncio.timeout(_OFTEN):
                    await self._wake.wait()
                await asyncio.sleep(_TOGETHER)
            except TimeoutError:
                pass
            self._wake.clear()
            new, self._new = self._new, []
            changed, self._changed = self._changed, set()
            users = {each.admission.user.pk: each.admission.user for each in self._listings}
            try:
                seen = await look(users.values(), changed)
            except Exception:  # the database is away
                logger.exception("news_not_seen")
                self._new, self._changed = new + self._new, changed | self._changed
                continue
            self._give(seen)
            for listing in new:
                if listing in self._listings:
                    listing.begin()

    def _give(self, seen: dict[Any, dict[str, Row]]) -> None:
        news = {}
        for user_pk, rows in seen.items():
            known = self._known.get(user_pk)
            if known is not None:
                news[user_pk] = [row for job_id, row in rows.items() if known.get(job_id) != row]
        self._known = seen
        for listing in list(self._listings):
            if changed := news.get(listing.admission.user.pk):
                listing.take(changed)


def _seen(users: Iterable[Any], changed: Collection[str]) -> dict[Any, dict[str, Row]]:
    """By user and job_id, oldest first: the newest jobs that each user may see, and the changed."""
    try:
        return {user.pk: _seen_by(user, changed) for user in users}
    finally:
        connection.close()


def _seen_by(user: Any, changed: Collection[str]) -> dict[str, Row]:
    jobs = visible_jobs(user).select_related("owner")
    newest = list(jobs.order_by("-created_at", "-pk").defer("payload", "result")[:_NEWEST])
    others = set(changed) - {job.job_id for job in newest}
    some = list(others)[:_NEWEST]
    older = jobs.filter(job_id__in=some).defer("payload", "result") if some else ()
    rows = JobListSerializer([*older, *newest[::-1]], many=True).data
    return {row["job_id"]: dict(row) for row in rows}


@contextmanager
def listed(admission: Connection) -> Iterator[JobListSubscription]:
    """News of the jobs that a user may see, in the running event loop."""
    registry = cast(PerLoop[JobListHub], cast(Any, apps.get_app_config("job_events_jobs")).news)
    news, listing = registry.of_running_loop(JobListHub), JobListSubscription(admission)
    news.add(listing)
    try:
        yield listing
    finally:
        news.remove(listing)
