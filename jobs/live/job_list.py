"""Live job lists: new and changed jobs of the users who have a list open.

The hub queries the database after a notification, which may be lost, and every few seconds.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from channels.layers import get_channel_layer

from events.live.tasks import Tasks
from events.live.threads import in_database_thread
from events.log_format import log_failure
from events.per_loop import LoopService, PerLoop
from jobs.access.session_guard import Connection
from jobs.api.serializers import JobListSerializer
from jobs.live.notifier import GROUP
from jobs.selectors import visible_jobs

logger = logging.getLogger(__name__)

# The newest visible jobs of a user, whose changes are found without a notification.
_MAX_ROWS: Final = 100
_POLL_SECONDS: Final = 5.0
# Delay of a query after a change, so that one query covers many changes.
_DELAY_SECONDS: Final = 0.1
# Layers forget members of a group after a day or so.
_REJOIN_SECONDS: Final = 3600.0
_LAYER_TIMEOUT_SECONDS: Final = 2.0

Row = dict[str, Any]


class JobListSubscription:
    """One open list; buffers the latest row of each changed job until it is taken.

    `live` is set as soon as every later change will be delivered.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection  # has the user whom the session guard loaded last
        self.live = asyncio.Event()
        self._has_rows = asyncio.Event()
        self._rows: dict[str, Row] = {}

    async def next(self) -> list[Row]:
        """Return new and changed jobs in the form of the API's list; wait for the first."""
        await self._has_rows.wait()
        self._has_rows.clear()
        rows, self._rows = self._rows, {}
        return list(rows.values())

    def put(self, rows: Iterable[Row]) -> None:
        self._rows.update((row["job_id"], row) for row in rows)
        if self._rows:
            self._has_rows.set()


class JobListHub(LoopService[JobListSubscription]):
    """Queries the jobs for the open lists of an event loop while there are any."""

    def __init__(self, forget: Callable[[], None]) -> None:
        super().__init__(forget)
        self._rows: dict[Any, dict[str, Row]] = {}
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        self._joined = asyncio.Event()  # set when the layer is unavailable, too

    def add(self, member: JobListSubscription) -> None:
        super().add(member)
        self._wake.set()

    async def _run(self) -> None:
        layer = get_channel_layer()
        tasks = Tasks()
        if layer is None:
            self._joined.set()
        else:
            tasks.add(self._listen(layer))
        tasks.add(self._poll())
        await tasks.wait()

    async def _listen(self, layer: Any) -> None:
        while True:
            try:
                async with asyncio.timeout(_LAYER_TIMEOUT_SECONDS):
                    channel = await layer.new_channel("job_events")
                    await layer.group_add(GROUP, channel)
                try:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_REJOIN_SECONDS):
                            await self._receive(layer, channel)
                finally:
                    async with asyncio.timeout(_LAYER_TIMEOUT_SECONDS):
                        await layer.group_discard(GROUP, channel)
            except Exception as error:  # noqa: BLE001 - layers raise exceptions of their own
                logger.warning("job_changes_not_received", extra={"error": repr(error)})
                self._joined.set()
                await asyncio.sleep(_POLL_SECONDS)

    async def _receive(self, layer: Any, channel: str) -> None:
        self._joined.set()
        while True:
            message = await layer.receive(channel)
            self._changed.add(message["job_id"])
            self._wake.set()

    async def _poll(self) -> None:
        await self._joined.wait()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_SECONDS):
                    await self._wake.wait()
                await asyncio.sleep(_DELAY_SECONDS)
            self._wake.clear()
            subscriptions = list(self._members)
            changed, self._changed = self._changed, set()
            try:
                users = {each.connection.user for each in subscriptions}
                rows = await in_database_thread(_query, users, changed)
            except Exception as error:  # noqa: BLE001 - the next query repeats it
                log_failure(logger, "job_list_query_failed", error)
                self._changed |= changed
                continue
            self._deliver(rows)
            for each in subscriptions:
                each.live.set()

    def _deliver(self, rows: dict[Any, dict[str, Row]]) -> None:
        previous, self._rows = self._rows, rows
        for each in self._members:
            pk = each.connection.user.pk
            if pk in previous and pk in rows:
                known = previous[pk]
                each.put(row for job_id, row in rows[pk].items() if known.get(job_id) != row)


hubs: Final = PerLoop[JobListHub]()


@contextmanager
def subscribe_to_jobs(connection: Connection) -> Iterator[JobListSubscription]:
    """Subscribe to the jobs that the user of a connection may see, in the running event loop."""
    hub, subscription = hubs.of_running_loop(JobListHub), JobListSubscription(connection)
    hub.add(subscription)
    try:
        yield subscription
    finally:
        hub.remove(subscription)


def _query(users: Iterable[Any], changed: Collection[str]) -> dict[Any, dict[str, Row]]:
    """Return rows by user and job_id, oldest first: the newest visible jobs, and the changed."""
    return {user.pk: _visible_rows(user, changed) for user in users}


def _visible_rows(user: Any, changed: Collection[str]) -> dict[str, Row]:
    jobs = visible_jobs(user).select_related("owner").defer("payload", "result")
    newest = list(jobs.order_by("-created_at", "-pk")[:_MAX_ROWS])
    others = list(set(changed) - {job.job_id for job in newest})[:_MAX_ROWS]
    older = jobs.filter(job_id__in=others) if others else ()
    rows = JobListSerializer([*older, *newest[::-1]], many=True).data
    return {row["job_id"]: dict(row) for row in rows}
