"""The WebSocket consumer of several jobs, and of changes of the job list."""

import asyncio
from contextlib import suppress

import orjson
from channels.db import database_sync_to_async
from django.utils.translation import gettext as _

from events.error_text import ErrorText
from events.exceptions import EventsError
from events.live.frames import EncodedMessage, drain, websocket_text
from events.live.multiplexer import Multiplexer
from events.types import Cursor, Event
from jobs.access import throttling
from jobs.access.session_guard import Connection
from jobs.completion import job_completion
from jobs.conf import job_settings
from jobs.exceptions import BadMessage, JobError, JobNotFound
from jobs.live.consumers import CloseCode, LiveConsumer, error_text
from jobs.live.job_list import subscribe_to_jobs
from jobs.live.protocol import MULTIPLEX_ACTIONS, ClientMessage


class MultiplexConsumer(LiveConsumer):
    """Consumer of several jobs: `/ws/events/`.

    The client sends `{"action": "subscribe", "job_id", "after", "ticket"}`, the last two being
    optional, and `{"action": "unsubscribe", "job_id"}`. Messages contain the `job_id`; an error is
    `{"type": "error", "job_id", "detail"}`. Without a session, the socket is closed unless the
    client sends a valid ticket within LOGIN_TIMEOUT seconds, and before any other message.

    After `{"action": "subscribe_jobs"}` the server sends `{"type": "jobs_live"}`, and from then on
    `{"type": "job", "job": {…}}` for each new or changed job, until `unsubscribe_jobs`.
    """

    _actions = MULTIPLEX_ACTIONS
    _job_list: asyncio.Task[None] | None = None

    async def _open(self) -> None:
        """Admit every client; each subscription is authorized by itself."""
        self._multiplexer = Multiplexer("websocket_multi")
        self._cleanup.callback(self._unsubscribe_from_jobs)
        if self._user.is_authenticated:
            await throttling.count_use(self._user, throttling.CONNECT)
            self._connection = Connection(*await database_sync_to_async(self._authenticate)())
        else:
            loop = asyncio.get_running_loop()
            timeout = loop.call_later(job_settings.LOGIN_TIMEOUT, self._require_login)
            self._cleanup.callback(timeout.cancel)

    def _require_login(self) -> None:
        if self._connection is None:
            self._abort(CloseCode.UNAUTHENTICATED)

    async def _execute(self, message: ClientMessage) -> None:
        match message.action:
            case "subscribe":
                await self._subscribe(message)
            case "unsubscribe":
                self._unsubscribe(message.job_id)
            case "subscribe_jobs":
                self._subscribe_to_jobs()
            case "unsubscribe_jobs":
                self._unsubscribe_from_jobs()

    async def _subscribe(self, message: ClientMessage) -> None:
        job_id, after = message.job_id, Cursor.parse(message.after)
        limit = job_settings.MAX_SUBSCRIPTIONS
        if job_id not in self._multiplexer and len(self._multiplexer) >= limit:
            text = _("The limit is %(limit)d jobs on a socket: unsubscribe from one.")
            raise BadMessage(text % {"limit": limit})
        is_new = self._connection is None
        connection = await database_sync_to_async(self._authorize)(job_id, message.ticket)
        if is_new:
            self._authenticated(connection)
        connection.job_ids |= {job_id}
        self._multiplexer.subscribe(job_id, after=after, completion=job_completion)

    def _unsubscribe(self, job_id: str) -> None:
        self._multiplexer.unsubscribe(job_id)
        if self._connection is not None:
            self._connection.job_ids -= {job_id}

    def _subscribe_to_jobs(self) -> None:
        if not self._user.is_authenticated or self._connection is None:
            raise BadMessage(
                _("The job list requires a session; a ticket is valid for one job only.")
            )
        if self._job_list is None:
            self._job_list = asyncio.create_task(self._send_jobs(self._connection))

    def _unsubscribe_from_jobs(self) -> None:
        if self._job_list is not None:
            self._job_list.cancel()
            self._job_list = None

    async def _send_jobs(self, connection: Connection) -> None:
        # `_deliver` handles the disconnect that an OSError reports.
        with subscribe_to_jobs(connection) as subscription, suppress(OSError):
            await subscription.live.wait()
            await self._send_texts(['{"type":"jobs_live"}'])
            while True:
                rows = await subscription.next()
                messages = ({"type": "job", "job": row} for row in rows)
                await self._send_texts(orjson.dumps(message).decode() for message in messages)

    def _access_revoked(self, job_id: str | None) -> None:
        if job_id is None:
            super()._access_revoked(None)
        else:
            self._unsubscribe(job_id)
            text = ErrorText("The job_id %(job_id)s is not available.", job_id=job_id)
            self._multiplexer.fail(job_id, JobNotFound(text))

    async def _send_all(self) -> EncodedMessage:
        async with self._multiplexer as multiplexer:
            while not (batch := await multiplexer.next()).is_final:
                if batch.error is None:
                    texts = (_text(batch.job_id, each) for each in drain(batch.messages))
                    await self._send_texts(texts)
                elif isinstance(batch.error, EventsError | JobError):
                    self._unsubscribe(batch.job_id)
                    await self._send_texts([error_text(batch.error, batch.job_id)])
                else:
                    raise batch.error
            restart = batch.messages[-1]
            await self._send_texts([restart.text])
            return restart


def _text(job_id: str, message: EncodedMessage) -> str:
    if isinstance(message.message, Event):
        return message.text
    return websocket_text(message.message, job_id=job_id)
