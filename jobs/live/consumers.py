"""WebSocket consumers: the base class, and the consumer of one job.

A handshake is rejected with the HTTP status and the problem details that the API has for the error;
403 is an invalid ticket. A server without that extension closes the socket with the corresponding
code.
"""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from time import monotonic
from typing import Any, Final, NoReturn, cast
from urllib.parse import parse_qs
from uuid import uuid4

import orjson
from channels.db import database_sync_to_async
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.contrib.auth.models import AnonymousUser
from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException

from events.conf import event_settings
from events.database import UNAVAILABLE
from events.exceptions import EventsError, LogDeleted
from events.history import aread_events
from events.live import is_watched, subscribe
from events.live.frames import END, EncodedMessage, drain
from events.live.rejection import deny_handshake
from events.live.replay import Replay
from events.live.shutdown import install_shutdown_handlers
from events.live.subscriber import Subscriber
from events.log_format import log_failure
from events.metrics.instruments import CLOSES
from events.types import Cursor, check_job_id
from jobs.access import throttling
from jobs.access.logins import Logins, logins_of
from jobs.access.session_guard import Connection
from jobs.access.sockets import has_ticket, header_user
from jobs.access.tickets import use_ticket
from jobs.api.problem_details import problem_of
from jobs.completion import job_completion
from jobs.conf import job_settings
from jobs.exceptions import InvalidTicket, JobError, TooOften
from jobs.live.protocol import (
    NO_ACTIONS,
    REPLAY_ACTIONS,
    ClientMessage,
    parse_message,
    replay_speed,
)
from jobs.selectors import visible_status

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES: Final = 16 * 1024
# Besides, a client may send two messages at once for each of MAX_SUBSCRIPTIONS.
MESSAGES_PER_SECOND: Final = 20
# Sockets of this process whose user is not known yet; each costs some memory and perhaps a query.
MAX_UNAUTHENTICATED_SOCKETS: Final = 1000


class CloseCode:
    """Reason of a close by the server. Clients do not reconnect after 1000, and from 4500 on."""

    # Plain integers: daphne refuses subclasses of int.

    END: Final = 1000  # the job is finished, and all events were sent
    TOO_MANY_MESSAGES: Final = 1008
    MESSAGE_TOO_BIG: Final = 1009
    INTERNAL_ERROR: Final = 1011
    RESTART: Final = 1012  # the server shuts down
    TRY_AGAIN_LATER: Final = 1013  # https://www.iana.org/assignments/websocket
    UNAUTHENTICATED: Final = 4401  # no user or ticket, or the session has ended
    INVALID_TICKET: Final = 4403
    NOT_FOUND: Final = 4404  # the job does not exist or is not visible
    SEND_TIMEOUT: Final = 4408  # the client reads too slowly
    INVALID_REQUEST: Final = 4500  # an invalid job_id, cursor or speed


# Added to the codes that a server refuses to send: daphne sends 1000 and 3000 to 4999 only.
_PRIVATE_CODES: Final = 3000
_REPORTED_ERRORS: Final = (EventsError, JobError, APIException, *UNAVAILABLE)
# By the HTTP status of a rejected handshake; TRY_AGAIN_LATER for any other.
_CLOSE_CODES: Final = {
    400: CloseCode.INVALID_REQUEST, 401: CloseCode.UNAUTHENTICATED,
    403: CloseCode.INVALID_TICKET, 404: CloseCode.NOT_FOUND,
}  # fmt: skip


class LiveConsumer(AsyncWebsocketConsumer):
    """Base class: authorization, revocation, client messages, and one task that sends messages."""

    # The consumers do not use the channel layer: without an alias they have no channel in it.
    channel_layer_alias = ""
    base_send: Any  # of Channels: sends an ASGI message

    _actions = NO_ACTIONS  # of client messages
    _connection: Connection | None = None
    _delivery: asyncio.Task[None] | None = None
    _header_logins: Logins = frozenset()
    _next_message_at = 0.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cleanup = ExitStack()
        self._id = uuid4()
        install_shutdown_handlers()

    async def __call__(self, *args: Any) -> None:
        try:
            await super().__call__(*args)
        finally:
            self._cleanup.close()
            if self._delivery is not None:
                self._delivery.cancel()

    async def connect(self) -> None:
        try:
            self._count_unauthenticated()
            await self._authenticate_by_header()
            await self._open()
        except _REPORTED_ERRORS as error:
            await self._reject(error)
            raise StopConsumer from error
        await self.accept()
        if self._connection is not None:
            self._authenticated(self._connection)
        self._delivery = asyncio.create_task(self._deliver())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if code := self._violation(text_data, bytes_data):
            await self._refuse(code)
        message, answer = ClientMessage(""), list[str]()
        try:
            message = parse_message(text_data, self._actions)
            if self._accepts(message):
                await self._execute(message)
        except _REPORTED_ERRORS as error:
            answer = [error_text(error, message.job_id)]
        if not self._accepts(message):
            await self._refuse(CloseCode.UNAUTHENTICATED)
        await self._send_texts(answer)

    def _accepts(self, message: ClientMessage) -> bool:
        """Return whether the client is authenticated, or may be by this message."""
        return self._connection is not None or message.ticket is not None

    def _violation(self, text: str | None, data: bytes | None) -> int | None:
        """Count a message; return a close code if it is too large or one too many."""
        if len((data or b"") if text is None else text.encode()) > MAX_MESSAGE_BYTES:
            return CloseCode.MESSAGE_TOO_BIG
        now, burst = monotonic(), MESSAGES_PER_SECOND + 2 * job_settings.MAX_SUBSCRIPTIONS
        self._next_message_at = max(self._next_message_at, now) + 1 / MESSAGES_PER_SECOND
        is_flood = self._next_message_at > now + burst / MESSAGES_PER_SECOND
        return CloseCode.TOO_MANY_MESSAGES if is_flood else None

    async def _refuse(self, code: int) -> NoReturn:
        """Close the socket, and process no other message, of which many may have arrived."""
        self._abort(code)
        await asyncio.wait([cast(Any, self._delivery)], timeout=event_settings.SEND_TIMEOUT)
        raise StopConsumer

    async def _open(self) -> None:
        """Authorize the client before the handshake is accepted; raise `_REPORTED_ERRORS`."""
        raise NotImplementedError

    async def _execute(self, message: ClientMessage) -> None:
        raise NotImplementedError

    async def _send_all(self) -> EncodedMessage:
        """Send all messages, and return the last."""
        raise NotImplementedError

    async def _send_text(self, text: str) -> None:
        """Send a message: the only place where the consumers write to an accepted socket."""
        await self.base_send({"type": "websocket.send", "text": text})

    async def _send_texts(self, texts: Iterable[str]) -> None:
        """Send messages; close the socket after SEND_TIMEOUT seconds."""
        loop = asyncio.get_running_loop()
        timeout = loop.call_later(event_settings.SEND_TIMEOUT, self._abort, CloseCode.SEND_TIMEOUT)
        try:
            for text in texts:
                await self._send_text(text)
        finally:
            timeout.cancel()

    @property
    def _user(self) -> Any:
        """The user that the project's middleware has authenticated."""
        return cast(Any, self.scope).get("user") or AnonymousUser()

    def _authorize(self, job_id: str, ticket: str | None) -> Connection:
        """Return the connection of a user who may see the job. Runs queries.

        Raises InvalidJobId, InvalidTicket, JobNotFound.
        """
        user, logins = self._authenticate(job_id, ticket)
        visible_status(user, job_id)
        connection = self._connection or Connection(user)
        if connection.user != user:
            raise InvalidTicket(
                _("The ticket was issued to another user than that of this socket.")
            )
        connection.logins |= logins
        self._connection = connection
        return connection

    async def _authenticate_by_header(self) -> None:
        """Use the Authorization header, unless the middleware or a ticket has authenticated."""
        if not self._user.is_authenticated and not has_ticket(self.scope):
            user, self._header_logins = await database_sync_to_async(header_user)(self.scope)
            cast(Any, self.scope)["user"] = user

    def _authenticate(self, job_id: str = "", ticket: str | None = None) -> tuple[Any, Logins]:
        """Return the user of the ticket, or of the session, and the logins."""
        if ticket is not None:
            return use_ticket(ticket, job_id, self._id)
        if not self._user.is_authenticated:
            return self._user, frozenset()
        if self._connection is not None:  # the session guard has updated its user
            return self._connection.user, self._connection.logins
        session = self.scope.get("session")
        return self._user, self._header_logins or logins_of(self._user, session)

    def _count_unauthenticated(self) -> None:
        """Raise TooOften if too many sockets are not authenticated."""
        if len(_unauthenticated) >= MAX_UNAUTHENTICATED_SOCKETS:
            raise TooOften(job_settings.LOGIN_TIMEOUT)
        _unauthenticated.add(self)
        self._cleanup.callback(_unauthenticated.discard, self)

    def _authenticated(self, connection: Connection) -> None:
        """The user is known: watch the session."""
        _unauthenticated.discard(self)
        self._cleanup.enter_context(connection.guarded(self._access_revoked))

    def _access_revoked(self, job_id: str | None) -> None:
        """Close the socket: the job is no longer visible, or the session has ended (None)."""
        self._abort(CloseCode.UNAUTHENTICATED if job_id is None else CloseCode.NOT_FOUND)

    def _abort(self, code: int) -> None:
        """Close without waiting for the message that is being sent."""
        logger.info("socket_closed", extra={"code": code})
        if self._delivery is not None:
            self._delivery.cancel()
        self._delivery = asyncio.create_task(self.close(code))

    async def close(self, code: Any = None, reason: str | None = None) -> None:
        """Close the socket, by a code for private use if the server refuses to send this one."""
        CLOSES.add(1, str(code))
        try:
            await super().close(code, reason)
        except Exception as error:
            if type(error) is not Exception:  # that of Autobahn has no type of its own
                raise
            await super().close(_PRIVATE_CODES + code, reason)

    async def _reject(self, error: Exception) -> None:
        body = problem_of(error)
        code = _CLOSE_CODES.get(body["status"], CloseCode.TRY_AGAIN_LATER)
        await deny_handshake(self.scope, self.base_send, body, code)

    async def _deliver(self) -> None:
        try:
            last = await self._send_all()
            await self.close(CloseCode.END if last is END else CloseCode.RESTART)
        except LogDeleted:
            await self.close(CloseCode.NOT_FOUND)
        except OSError:
            # https://asgi.readthedocs.io/en/latest/specs/www.html#disconnected-client-send-exception
            logger.info("client_disconnected")
        except Exception as error:  # noqa: BLE001 - logged
            # No caller awaits this task: an open socket without it would never receive anything.
            log_failure(logger, "live_delivery_failed", error)
            await self.close(CloseCode.INTERNAL_ERROR)


_unauthenticated: Final = set[LiveConsumer]()


class JobConsumer(LiveConsumer):
    """Consumer of one job: `/ws/jobs/{job_id}/?after=<cursor>`.

    With `&replay=1` it sends the log with the original time between events, divided by `speed`. The
    client may then send `{"action": "pause"}`, `{"action": "resume"}`,
    `{"action": "speed", "speed": 2}` and `{"action": "seek", "after": "<cursor>"}`.
    """

    _source: Subscriber

    async def _open(self) -> None:
        query = parse_qs(self.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        after = Cursor.parse(query.get("after", ["0"])[-1])
        job_id = check_job_id(str(self.scope["url_route"]["kwargs"]["job_id"]))
        speed = replay_speed(query)
        ticket = query.get("ticket", [None])[-1]
        connection = await database_sync_to_async(self._authorize)(job_id, ticket)
        connection.job_ids = frozenset({job_id})
        await throttling.count_use(connection.user, throttling.CONNECT)
        if speed is None:
            self._source = subscribe(
                job_id, after=after, completion=job_completion, transport="websocket"
            )
        else:
            await throttling.count_use(connection.user, throttling.REPLAY)
            self._source = Replay(job_id, after, speed=speed, completion=job_completion)
            self._actions = REPLAY_ACTIONS
        if not is_watched(job_id):
            await aread_events(job_id, limit=1)

    async def _execute(self, message: ClientMessage) -> None:
        replay = cast(Replay, self._source)
        match message.action:
            case "pause":
                replay.pause()
            case "resume":
                replay.resume()
            case "speed":
                replay.change_speed(message.parse_speed())
            case "seek":
                replay.seek(Cursor.parse(message.after))

    async def _send_all(self) -> EncodedMessage:
        async with self._source as subscriber:
            subscriber.on_send_timeout = partial(self._abort, CloseCode.SEND_TIMEOUT)
            while True:
                for message in drain(await subscriber.next()):
                    await self._send_text(message.text)
                if message.is_last:
                    return message


def error_text(error: Exception, job_id: str = "") -> str:
    """Return the text of an error message, about a job or about the connection."""
    fields = {"type": "error"} | ({"job_id": job_id} if job_id else {})
    return orjson.dumps(fields | {"detail": problem_of(error)["detail"]}).decode()
