"""The WebSocket consumer of several jobs' logs, and of news of the jobs themselves."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

import orjson
from channels.db import database_sync_to_async

from events.conf import event_settings
from events.exceptions import EventsError
from events.live.frames import EncodedMessage, with_job_id
from events.live.multiplexer import Multiplexer
from events.types import Cursor, Event, check_job_id, shown
from jobs.access.session_guard import Connection
from jobs.completion import job_completion
from jobs.conf import job_settings
from jobs.exceptions import JobError, JobNotFound
from jobs.live.consumers import CloseCode, LiveConsumer, TooOften
from jobs.live.job_list import listed
from jobs.live.protocol import BadMessage

# What a viewer may say, and what belongs to it.
_ACTIONS: Final[dict[str, tuple[str, ...]]] = {
    "subscribe": ("job_id", "after", "ticket"),
    "unsubscribe": ("job_id",),
    "subscribe_jobs": (),
    "unsubscribe_jobs": (),
}


class MultiplexConsumer(LiveConsumer):
    """One viewer of several jobs: `/ws/events/`.

    It is sent `{"action": "subscribe", "job_id", "after", "ticket"}`, the last two if need be, and
    `{"action": "unsubscribe", "job_id"}`. What cannot be done is answered by
    `{"type": "error", "job_id", "detail"}`. Somebody who is not logged in is closed unless the
    first ticket comes within LOGIN_TIMEOUT seconds.

    By `{"action": "subscribe_jobs"}` it tells of the jobs themselves: `{"type": "jobs_live"}` once
    nothing is missed, then `{"type": "job", "job": {…}}` for each that is new or has changed.
    """

    _news: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Accept; what may be seen is asked when somebody subscribes."""
        self._bundle = Multiplexer()
        if self._user.is_authenticated:
            try:
                await self._limit(self._user)
            except TooOften as error:
                await self._refuse(429, str(error))
                return
            admit = database_sync_to_async(Connection)
            self._admission = await admit(self._user, self.scope.get("session"))
            self._guard(self._admission)
        await self.accept()
        self._delivery = asyncio.create_task(self._deliver())
        loop = asyncio.get_running_loop()
        late = loop.call_later(job_settings.LOGIN_TIMEOUT, self._expect_login)
        self._guarding.callback(late.cancel)

    def _expect_login(self) -> None:
        if self._admission is None:
            self._close_by(CloseCode.LOGIN)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Do what the viewer says."""
        message: dict[str, Any] = {}
        try:
            message = _read(text_data)
            await self._do(**message)
        except (EventsError, JobError) as error:
            await self._send_each([_error(message.get("job_id"), error)])

    async def _do(
        self, action: str, job_id: str = "", after: Any = "0", ticket: Any = None
    ) -> None:
        match action:
            case "subscribe":
                await self._subscribe(job_id, after, ticket)
            case "unsubscribe":
                self._unsubscribe(job_id)
            case "subscribe_jobs":
                self._subscribe_jobs()
            case "unsubscribe_jobs":
                self._unsubscribe_jobs()

    async def _subscribe(self, job_id: str, after: Any, ticket: Any) -> None:
        cursor = Cursor.parse(after)
        most = job_settings.MAX_SUBSCRIPTIONS
        if job_id not in self._bundle and len(self._bundle) >= most:
            raise BadMessage(f"This socket has its {most} jobs: unsubscribe from one.")
        was_known = self._admission is not None
        admission = await database_sync_to_async(self._admit)(job_id, ticket)
        if not was_known:
            self._guard(admission)
        admission.job_ids |= {job_id}
        self._bundle.subscribe(job_id, after=cursor, completion=job_completion)

    def _unsubscribe(self, job_id: str) -> None:
        self._bundle.unsubscribe(job_id)
        if self._admission is not None:
            self._admission.job_ids -= {job_id}

    def _subscribe_jobs(self) -> None:
        if not self._user.is_authenticated or self._admission is None:
            raise BadMessage("The jobs are told of to who is logged in; a ticket is for one job.")
        if self._news is None:
            self._news = asyncio.create_task(self._send_news(self._admission))
            self._guarding.callback(self._unsubscribe_jobs)

    def _unsubscribe_jobs(self) -> None:
        if self._news is not None:
            self._news.cancel()
            self._news = None

    async def _send_news(self, admission: Connection) -> None:
        with listed(admission) as listing, suppress(OSError):  # whoever delivers notices, too
            await listing.live()
            await self._send_each(['{"type":"jobs_live"}'])
            while True:
                rows = await listing.next()
                await self._send_each(_job(row) for row in rows)

    def _revoke(self, job_id: str | None) -> None:
        if job_id is None:
            super()._revoke(None)
        else:
            self._unsubscribe(job_id)
            self._bundle.fail(job_id, JobNotFound(f"There is no job {job_id}."))

    async def _send_all(self) -> EncodedMessage:
        async with self._bundle as bundle:
            while True:
                batch = await bundle.next()
                if batch.error is not None:
                    if not isinstance(batch.error, EventsError | JobError):
                        raise batch.error
                    await self._send_each([_error(batch.job_id, batch.error)])
                else:
                    await self._send_each(_text(batch.job_id, each) for each in batch.messages)
                if batch.is_final:
                    return batch.messages[-1]

    async def _send_each(self, texts: Iterable[str]) -> None:
        loop = asyncio.get_running_loop()
        patience = event_settings.SEND_TIMEOUT
        stuck = loop.call_later(patience, self._close_by, CloseCode.STUCK)
        try:
            for text in texts:
                await self.send(text)
        finally:
            stuck.cancel()


def _read(text: str | None) -> dict[str, Any]:
    """What a viewer says, if it is an action with what that may have."""
    try:
        message = orjson.loads(text or "")
    except orjson.JSONDecodeError:
        message = None
    message = message if isinstance(message, dict) else dict[str, Any]()
    action = message.get("action")
    if not isinstance(action, str) or action not in _ACTIONS:
        raise BadMessage(
            f"Send a JSON object whose action is one of {', '.join(_ACTIONS)}."
            f" Given: {shown(text)}."
        )
    known = {"action", *_ACTIONS[action]}
    if unknown := message.keys() - known:
        raise BadMessage(
            f"{action} takes {', '.join(sorted(known))}. Given: {shown(min(unknown))}."
        )
    if not isinstance(message.get("ticket", ""), str):
        raise BadMessage("The ticket is a string.")
    if "job_id" in _ACTIONS[action]:
        check_job_id(message.get("job_id"))
    return message


def _text(job_id: str, message: EncodedMessage) -> str:
    is_named = isinstance(message.message, Event) or message.is_connection_level
    return message.text if is_named else with_job_id(message.text, job_id)


def _job(row: dict[str, Any]) -> str:
    return orjson.dumps({"type": "job", "job": row}).decode()


def _error(job_id: str | None, error: Exception) -> str:
    words: dict[str, str] = {"type": "error"}
    if job_id is not None:
        words["job_id"] = job_id
    return orjson.dumps(words | {"detail": str(error)}).decode()
