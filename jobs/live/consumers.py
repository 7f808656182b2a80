"""WebSocket consumers: the base class, and the consumer of one job.

The server sends `{"type": "event", "event": {…}}`, `{"type": "live"}`, `{"type": "reset", …}`,
`{"type": "end"}` and `{"type": "restart", …}` as JSON text.

A handshake is rejected with an HTTP status: 400 for an invalid job_id, cursor or speed, 403 for an
invalid ticket, 404 for a job that is not visible, 429 for a rate limit, 503 for an unreadable log.
A server without that extension closes the socket with the corresponding code.
"""

import asyncio
import logging
from contextlib import ExitStack
from enum import IntEnum
from typing import Any, Final, cast
from urllib.parse import parse_qs

import orjson
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.contrib.auth.models import AnonymousUser

from events.exceptions import EventsError, InvalidCursor, InvalidJobId
from events.history import aread_events
from events.live import is_watched, subscribe
from events.live.frames import END, EncodedMessage
from events.live.replay import Replay
from events.live.shutdown import install_shutdown_handlers
from events.types import Cursor, check_job_id
from jobs.access import throttling
from jobs.access.session_guard import Connection
from jobs.access.tickets import user_of_ticket
from jobs.completion import job_completion
from jobs.exceptions import BadMessage, InvalidSpeed, InvalidTicket, JobError, JobNotFound, TooOften
from jobs.live.protocol import REPLAY_ACTIONS, parse_message, replay_speed
from jobs.selectors import visible_status

logger = logging.getLogger(__name__)

# https://asgi.readthedocs.io/en/latest/extensions.html#websocket-denial-response
_DENIAL: Final = "websocket.http.response"


class CloseCode(IntEnum):
    """Reason of a close by the server. Clients do not reconnect after 1000, and from 4500 on."""

    END = 1000  # the job is finished, and all events were sent
    INTERNAL_ERROR = 1011
    RESTART = 1012  # the server shuts down
    TRY_AGAIN_LATER = 1013  # https://www.iana.org/assignments/websocket
    UNAUTHENTICATED = 4401  # no user, or the session has ended
    INVALID_TICKET = 4403
    NOT_FOUND = 4404  # the job does not exist or is not visible
    SEND_TIMEOUT = 4408  # the client reads too slowly
    INVALID_REQUEST = 4500  # an invalid job_id, cursor or speed


_REJECTIONS: Final[dict[type[Exception], tuple[int, CloseCode]]] = {
    InvalidJobId: (400, CloseCode.INVALID_REQUEST),
    InvalidCursor: (400, CloseCode.INVALID_REQUEST),
    InvalidSpeed: (400, CloseCode.INVALID_REQUEST),
    InvalidTicket: (403, CloseCode.INVALID_TICKET),
    JobNotFound: (404, CloseCode.NOT_FOUND),
    TooOften: (429, CloseCode.TRY_AGAIN_LATER),
    EventsError: (503, CloseCode.TRY_AGAIN_LATER),
}


class LiveConsumer(AsyncWebsocketConsumer):
    """Base class: authorization, revocation, and one task that sends messages."""

    # The consumers do not use the channel layer: without an alias they have no channel in it.
    channel_layer_alias = ""

    _connection: Connection | None = None
    _delivery: asyncio.Task[None] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cleanup = ExitStack()
        install_shutdown_handlers()

    async def disconnect(self, code: int) -> None:
        """Stop sending."""
        self._cleanup.close()
        if self._delivery is not None:
            self._delivery.cancel()

    @property
    def _query(self) -> dict[str, list[str]]:
        return parse_qs(self.scope["query_string"].decode("latin-1"), keep_blank_values=True)

    @property
    def _user(self) -> Any:
        """The user that the project's middleware has authenticated."""
        scope = cast(Any, self.scope)
        return scope.get("user") or AnonymousUser()

    def _authorize(self, job_id: str, ticket: str | None) -> Connection:
        """Return the connection of a user who may see the job. Runs queries.

        Raises InvalidJobId, InvalidTicket, JobNotFound.
        """
        if ticket is None:
            connection = self._connection if self._user.is_authenticated else None
            connection = connection or Connection(self._user, self.scope.get("session"))
        else:
            connection = Connection(user_of_ticket(ticket, job_id))
        if self._connection is not None and self._connection.user != connection.user:
            raise InvalidTicket("The ticket was issued to another user than that of this socket.")
        visible_status(connection.user, job_id)
        self._connection = self._connection or connection
        return self._connection

    async def _throttle(self, user: Any, *scopes: str) -> None:
        """Raise TooOften if the user exceeds the rate of a scope."""
        if limited := list(filter(throttling.rate_of, scopes)):
            await database_sync_to_async(throttling.check_rate)(limited, user)

    def _watch_session(self, connection: Connection) -> None:
        self._cleanup.enter_context(connection.guarded(self._access_revoked))

    def _access_revoked(self, job_id: str | None) -> None:
        """Close the socket: the job is no longer visible, or the session has ended (None)."""
        self._abort(CloseCode.UNAUTHENTICATED if job_id is None else CloseCode.NOT_FOUND)

    def _abort(self, code: CloseCode) -> None:
        """Close without waiting for the message that is being sent."""
        logger.info("socket_closed", extra={"code": int(code)})
        if self._delivery is not None:
            self._delivery.cancel()
        self._delivery = asyncio.create_task(self.close(code))

    async def _reject(self, error: Exception) -> None:
        kinds = (kind for kind in _REJECTIONS if isinstance(error, kind))
        status, code = _REJECTIONS[next(kinds)]
        if _DENIAL not in (self.scope.get("extensions") or {}):
            await self.close(code=code)
            return
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        send: Any = self.base_send
        await send({"type": f"{_DENIAL}.start", "status": status, "headers": headers})
        await send({"type": f"{_DENIAL}.body", "body": str(error).encode()})

    async def _deliver(self) -> None:
        try:
            last = await self._send_all()
            await self.close(CloseCode.END if last is END else CloseCode.RESTART)
        except OSError:
            # https://asgi.readthedocs.io/en/latest/specs/www.html#disconnected-client-send-exception
            logger.info("client_disconnected")
        except Exception:
            # No caller awaits this task: an open socket without it would never receive anything.
            logger.exception("live_delivery_failed")
            await self.close(CloseCode.INTERNAL_ERROR)

    async def _send_all(self) -> EncodedMessage:
        """Send all messages, and return the last."""
        raise NotImplementedError


class JobConsumer(LiveConsumer):
    """Consumer of one job: `/ws/jobs/{job_id}/?after=<cursor>`.

    With `&replay=1` it sends the log with the original time between events, divided by `speed`. The
    client may then send `{"action": "pause"}`, `{"action": "resume"}`,
    `{"action": "speed", "speed": 2}` and `{"action": "seek", "after": "<cursor>"}`.
    """

    job_id: str
    after: Cursor
    _replay: Replay | None = None

    async def connect(self) -> None:
        """Authorize the client, accept the handshake and start sending."""
        try:
            self.after = Cursor.parse(self._query.get("after", ["0"])[-1])
            self.job_id = check_job_id(str(self.scope["url_route"]["kwargs"]["job_id"]))
            speed = replay_speed(self._query)
            ticket = self._query.get("ticket", [None])[-1]
            connection = await database_sync_to_async(self._authorize)(self.job_id, ticket)
            replays = [throttling.REPLAY] if speed is not None else []
            await self._throttle(connection.user, throttling.CONNECT, *replays)
            if not is_watched(self.job_id):
                await aread_events(self.job_id, limit=1)
        except tuple(_REJECTIONS) as error:
            await self._reject(error)
            return
        if speed is not None:
            self._replay = Replay(self.job_id, self.after, speed=speed, completion=job_completion)
        await self.accept()
        connection.job_ids = frozenset({self.job_id})
        self._watch_session(connection)
        self._delivery = asyncio.create_task(self._deliver())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Control the replay; without one, no message is allowed."""
        try:
            if self._replay is None:
                raise BadMessage("This socket accepts no messages: it was opened without replay=1.")
            _control(self._replay, text_data)
        except (JobError, EventsError) as error:
            await self.send(error_text(error))

    async def _send_all(self) -> EncodedMessage:
        source = self._replay or subscribe(self.job_id, after=self.after, completion=job_completion)
        async with source as subscriber:
            subscriber.on_send_timeout = lambda: self._abort(CloseCode.SEND_TIMEOUT)
            while True:
                for message in await subscriber.next():
                    await self.send(message.text)
                if message.is_last:
                    return message


def _control(replay: Replay, text: str | None) -> None:
    message = parse_message(text, REPLAY_ACTIONS)
    match message.action:
        case "pause":
            replay.pause()
        case "resume":
            replay.resume()
        case "speed":
            replay.change_speed(message.parse_speed())
        case "seek":
            replay.seek(message.parse_cursor())


def error_text(error: Exception, job_id: str = "") -> str:
    """Return the text of an error message, about a job or about the connection."""
    fields = {"type": "error"} | ({"job_id": job_id} if job_id else {})
    return orjson.dumps(fields | {"detail": str(error)}).decode()
