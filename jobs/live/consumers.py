"""The WebSocket consumer of one job's log, and what it shares with that of several.

The server sends `{"type": "event", "event": {…}}`, `{"type": "live"}`, `{"type": "reset", …}` and
`{"type": "end"}`, as JSON text; on the socket of several jobs, these name their `job_id`. Whoever
is refused before the socket is accepted gets a status of HTTP: 400 for a bad job_id or cursor, 403
for a ticket that is none, 404 for a job that is not the viewer's to see, 503 for a log that cannot
be read. A server that can't answer a handshake so closes by the code that says the same.
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
from jobs.access.session_guard import Connection, guarded
from jobs.access.tickets import user_of_ticket
from jobs.completion import job_completion
from jobs.exceptions import InvalidTicket, JobError, JobNotFound
from jobs.live.protocol import BadMessage, InvalidSpeed, speed_asked, steer
from jobs.selectors import visible_status

logger = logging.getLogger(__name__)

# https://asgi.readthedocs.io/en/latest/extensions.html#websocket-denial-response
_DENIAL: Final = "websocket.http.response"


class CloseCode(IntEnum):
    """Why the server closes. After 1000, and from 4500 on, nothing is gained by coming back."""

    END = 1000  # the job is over, and the viewer has everything
    FAULT = 1011
    RESTART = 1012  # the server goes away
    TRY_AGAIN_LATER = 1013  # https://www.iana.org/assignments/websocket
    LOGIN = 4401  # who it is, is not known, or not any more
    BAD_TICKET = 4403
    NOT_FOUND = 4404  # there is no such job, or it is not one that the viewer may see
    STUCK = 4408  # nothing was taken for long
    INVALID = 4500  # a job_id or a cursor that is none


_STATUS: Final = {
    400: CloseCode.INVALID,
    403: CloseCode.BAD_TICKET,
    404: CloseCode.NOT_FOUND,
    429: CloseCode.TRY_AGAIN_LATER,
    503: CloseCode.TRY_AGAIN_LATER,
}


class TooOften(JobError):
    """Somebody has connected too often."""


class LiveConsumer(AsyncWebsocketConsumer):
    """What both have: who views, and one task that delivers."""

    # Nothing comes to a single consumer by the channel layer, so none has a channel there.
    channel_layer_alias = ""

    _admission: Connection | None = None
    _delivery: asyncio.Task[None] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._guarding = ExitStack()

    async def accept(self, *args: Any, **kwargs: Any) -> None:
        """Accept; whoever is there when the server is told to end is told so."""
        install_shutdown_handlers()
        await super().accept(*args, **kwargs)

    async def disconnect(self, code: int) -> None:
        """Stop delivering."""
        self._guarding.close()
        if self._delivery is not None:
            self._delivery.cancel()

    @property
    def _query(self) -> dict[str, list[str]]:
        return parse_qs(self.scope["query_string"].decode("latin-1"), keep_blank_values=True)

    def _admit(self, job_id: str, ticket: str | None) -> Connection:
        """Let the viewer view a job; asks the database.

        Raises InvalidJobId, InvalidTicket, JobNotFound.
        """
        if ticket is None:
            admission = self._admission if self._user.is_authenticated else None
            admission = admission or Connection(self._user, self.scope.get("session"))
        else:
            admission = Connection(user_of_ticket(ticket, job_id))
        if self._admission is not None and self._admission.user != admission.user:
            raise InvalidTicket("This ticket is another user's than this socket.")
        visible_status(admission.user, job_id)
        self._admission = self._admission or admission
        return self._admission

    @property
    def _user(self) -> Any:
        """Whom the project's middleware knows this to be."""
        scope = cast(Any, self.scope)
        return scope.get("user") or AnonymousUser()

    async def _limit(self, user: Any, *, is_replay: bool = False) -> None:
        """Raise TooOften for who connects more often than the project lets them."""
        wanted = [throttling.CONNECT, *([throttling.REPLAY] if is_replay else [])]
        scopes = list(filter(throttling.rate_of, wanted))
        wait = database_sync_to_async(throttling.wait_for)  # the cache may be a database's
        if scopes and (seconds := await wait(scopes, user)) is not None:
            raise TooOften(f"Too often. Come back in {seconds:.0f} seconds.")

    def _guard(self, admission: Connection) -> None:
        self._guarding.enter_context(guarded(admission, self._revoke))

    def _revoke(self, job_id: str | None) -> None:
        """The viewer may not see this job any more; None: is logged in no more."""
        self._close_by(CloseCode.LOGIN if job_id is None else CloseCode.NOT_FOUND)

    def _close_by(self, code: CloseCode) -> None:
        """Close, whatever is being sent."""
        logger.info("viewer_closed", extra={"code": int(code)})
        if self._delivery is not None:
            self._delivery.cancel()
        self._delivery = asyncio.create_task(self.close(code))

    async def _refuse(self, status: int, detail: str) -> None:
        if _DENIAL not in (self.scope.get("extensions") or {}):
            await self.close(code=_STATUS[status])
            return
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        send: Any = self.base_send
        await send({"type": f"{_DENIAL}.start", "status": status, "headers": headers})
        await send({"type": f"{_DENIAL}.body", "body": detail.encode()})

    async def _deliver(self) -> None:
        try:
            last = await self._send_all()
            await self.close(CloseCode.END if last is END else CloseCode.RESTART)
        except OSError:
            # https://asgi.readthedocs.io/en/latest/specs/www.html#disconnected-client-send-exception
            logger.info("viewer_gone")
        except Exception:
            # Nobody awaits this task: unless it closes the socket, the viewer waits for ever.
            logger.exception("live_delivery_failed")
            await self.close(CloseCode.FAULT)

    async def _send_all(self) -> EncodedMessage:
        """Send until the last message, which it was."""
        raise NotImplementedError


class JobConsumer(LiveConsumer):
    """One viewer of one job: `/ws/jobs/{job_id}/?after=<cursor>`.

    With `&replay=1` it is the log as it was, with the time between its events divided by `speed`;
    then the viewer may send `{"action": "pause"}`, `{"action": "resume"}`,
    `{"action": "speed", "speed": 2}` and `{"action": "seek", "after": "<cursor>"}`.
    """

    job_id: str
    after: Cursor
    _replay: Replay | None = None

    async def connect(self) -> None:
        """Accept a viewer who may see the job, and deliver."""
        try:
            self.after = Cursor.parse(self._query.get("after", ["0"])[-1])
            self.job_id = check_job_id(str(self.scope["url_route"]["kwargs"]["job_id"]))
            speed = speed_asked(self._query)
            ticket = self._query.get("ticket", [None])[-1]
            admission = await database_sync_to_async(self._admit)(self.job_id, ticket)
            await self._limit(admission.user, is_replay=speed is not None)
            if not is_watched(self.job_id):
                await aread_events(self.job_id, limit=1)
        except (InvalidJobId, InvalidCursor, InvalidSpeed) as error:
            await self._refuse(400, str(error))
        except InvalidTicket as error:
            await self._refuse(403, str(error))
        except JobNotFound as error:
            await self._refuse(404, str(error))
        except TooOften as error:
            await self._refuse(429, str(error))
        except EventsError as error:
            await self._refuse(503, str(error))
        else:
            if speed is not None:
                self._replay = Replay(
                    self.job_id, self.after, speed=speed, completion=job_completion
                )
            await self.accept()
            admission.job_ids = frozenset({self.job_id})
            self._guard(admission)
            self._delivery = asyncio.create_task(self._deliver())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Do with a replay what the viewer says; any other socket only listens."""
        try:
            steer(self._replay, text_data)
        except (BadMessage, InvalidCursor, InvalidSpeed) as error:
            await self.send(orjson.dumps({"type": "error", "detail": str(error)}).decode())

    async def _send_all(self) -> EncodedMessage:
        view = self._replay or subscribe(self.job_id, after=self.after, completion=job_completion)
        async with view as viewer:
            viewer.on_send_timeout = lambda: self._close_by(CloseCode.STUCK)
            while True:
                for message in await viewer.next():
                    await self.send(message.text)
                if message.is_last:
                    return message
