"""Live job lists: new and changed jobs of the users who have a list open.

`jobs.live.notifier` sends changes through the channel layer. They only wake up the hub, and may be
lost: the hub queries the database after a change, and every few seconds without one.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import django.db
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer

from events.per_loop import PerLoop
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
        self._connection = connection
        self.live = asyncio.Event()
        self._has_rows = asyncio.Event()
        self._rows: dict[str, Row] = {}

    @property
    def user(self) -> Any:
        """The user, as the session guard has loaded it last."""
        return self._connection.user

    async def next(self) -> list[Row]:
        """Wait for new and changed jobs; return them in the form of the API's list."""
        await self._has_rows.wait()
        self._has_rows.clear()
        rows, self._rows = self._rows, {}
        return list(rows.values())

    def put(self, rows: Iterable[Row]) -> None:
        """Deliver rows."""
        self._rows.update((row["job_id"], row) for row in rows)
        self._has_rows.set()


class JobListHub:
    """Queries the jobs for the open lists of an event loop while there are any."""

    def __init__(self, forget: Callable[[], None]) -> None:
        self._forget = forget
        self._subscriptions: set[JobListSubscription] = set()
        self._rows: dict[Any, dict[str, Row]] = {}
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        self._joined = asyncio.Event()  # set when the layer is unavailable, too
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, subscription: JobListSubscription) -> None:
        """Deliver changes to a list."""
        self._subscriptions.add(subscription)
        self._wake.set()
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._poll())]

    def remove(self, subscription: JobListSubscription) -> None:
        """Stop delivering; without open lists the hub ends."""
        self._subscriptions.discard(subscription)
        if not self._subscriptions and self._tasks:
            self._forget()
            for task in self._tasks:
                task.cancel()
            self._tasks = []

    async def _listen(self) -> None:
        layer: Any = get_channel_layer()
        if layer is None:
            self._joined.set()
        while layer is not None:
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
        query = sync_to_async(_query, thread_sensitive=False)
        await self._joined.wait()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_SECONDS):
                    await self._wake.wait()
                await asyncio.sleep(_DELAY_SECONDS)
            self._wake.clear()
            subscriptions = list(self._subscriptions)
            changed, self._changed = self._changed, set()
            try:
                rows = await query({each.user.pk: each.user for each in subscriptions}, changed)
            except Exception:  # the database is unavailable
                logger.exception("job_list_query_failed")
                self._changed |= changed
                continue
            self._deliver(rows)
            for each in subscriptions:
                each.live.set()

    def _deliver(self, rows: dict[Any, dict[str, Row]]) -> None:
        previous, self._rows = self._rows, rows
        for each in self._subscriptions:
            known = previous.get(each.user.pk)
            if known is not None:
                current = rows.get(each.user.pk, {})
                if changed := [row for job_id, row in current.items() if known.get(job_id) != row]:
                    each.put(changed)


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


def _query(users: dict[Any, Any], changed: Collection[str]) -> dict[Any, dict[str, Row]]:
    """Return rows by user and job_id, oldest first: the newest visible jobs, and the changed."""
    try:
        return {pk: _visible_rows(user, changed) for pk, user in users.items()}
    finally:
        django.db.connection.close()


def _visible_rows(user: Any, changed: Collection[str]) -> dict[str, Row]:
    jobs = visible_jobs(user).select_related("owner").defer("payload", "result")
    newest = list(jobs.order_by("-created_at", "-pk")[:_MAX_ROWS])
    others = list(set(changed) - {job.job_id for job in newest})[:_MAX_ROWS]
    older = jobs.filter(job_id__in=others) if others else ()
    rows = JobListSerializer([*older, *newest[::-1]], many=True).data
    return {row["job_id"]: dict(row) for row in rows}
