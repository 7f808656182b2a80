"""The WebSocket consumer of one job's log.

The server sends `{"type": "event", "event": {…}}`, `{"type": "live"}`, `{"type": "reset", …}` and
`{"type": "end"}`, as JSON text. Refused before it is accepted: a bad job_id or cursor by 400, a
ticket that is none by 403, a job that is not the viewer's to see by 404, a log that cannot be read
by 503; as close codes, where the server cannot answer a handshake with a status, 4400 to 4503.
"""

import asyncio
import logging
from typing import Any, Final, cast
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from events.encoded import END
from events.exceptions import EventsError, InvalidCursor, InvalidJobId
from events.history import aread_events
from events.live import viewing
from events.types import START, Cursor
from jobs.exceptions import InvalidTicket, JobNotFound
from jobs.live import job_ending
from jobs.selectors import visible_status
from jobs.tickets import user_of_ticket

logger = logging.getLogger(__name__)

# https://asgi.readthedocs.io/en/latest/extensions.html#websocket-denial-response
_DENIAL: Final = "websocket.http.response"

END_CODE = 1000
FAULT_CODE = 1011
STUCK_CODE = 4408


class JobConsumer(AsyncWebsocketConsumer):
    """One viewer of one job: `/ws/jobs/{job_id}/?after=<cursor>`."""

    job_id: str
    _delivery: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Accept a viewer who may see the job, and deliver."""
        try:
            after = self._after()
            self.job_id = await self._visible_job_id()
            await aread_events(self.job_id, limit=1)
        except (InvalidJobId, InvalidCursor) as error:
            await self._refuse(400, str(error))
        except InvalidTicket as error:
            await self._refuse(403, str(error))
        except JobNotFound as error:
            await self._refuse(404, str(error))
        except EventsError as error:
            await self._refuse(503, str(error))
        else:
            await self.accept()
            self._delivery = asyncio.create_task(self._deliver(after))

    async def disconnect(self, code: int) -> None:
        """Stop delivering."""
        if self._delivery is not None:
            self._delivery.cancel()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Tell a viewer who speaks that this socket only listens."""
        await self.send('{"type":"error","detail":"This socket takes no messages."}')

    def _close_stuck(self) -> None:
        """The viewer takes nothing; if it ever comes back, it may resume."""
        logger.info("viewer_stuck", extra={"job_id": self.job_id})
        if self._delivery is not None:
            self._delivery.cancel()
        self._delivery = asyncio.create_task(self.close(STUCK_CODE))

    def _after(self) -> Cursor:
        return Cursor.parse(self._query["after"][-1]) if "after" in self._query else START

    @property
    def _query(self) -> dict[str, list[str]]:
        return parse_qs(self.scope["query_string"].decode("latin-1"), keep_blank_values=True)

    async def _visible_job_id(self) -> str:
        job_id = str(self.scope["url_route"]["kwargs"]["job_id"])
        await database_sync_to_async(self._see)(job_id)
        return job_id

    def _see(self, job_id: str) -> None:
        ticket = self._query.get("ticket")
        user = user_of_ticket(ticket[-1], job_id) if ticket else cast(Any, self.scope["user"])
        visible_status(user, job_id)

    async def _refuse(self, status: int, detail: str) -> None:
        if _DENIAL not in (self.scope.get("extensions") or {}):
            await self.close(code=4000 + status)
            return
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        send: Any = self.base_send
        await send({"type": f"{_DENIAL}.start", "status": status, "headers": headers})
        await send({"type": f"{_DENIAL}.body", "body": detail.encode()})

    async def _deliver(self, after: Cursor) -> None:
        try:
            async with viewing(self.job_id, after=after, ending=job_ending) as viewer:
                viewer.on_stuck = self._close_stuck
                last = None
                while last is not END:
                    for last in await viewer.next():
                        await self.send(last.text)
            await self.close(END_CODE)
        except OSError:
            # https://asgi.readthedocs.io/en/latest/specs/www.html#disconnected-client-send-exception
            logger.info("viewer_gone", extra={"job_id": self.job_id})
        except Exception:
            # Nobody awaits this task: unless it closes the socket, the viewer waits for ever.
            logger.exception("live_delivery_failed", extra={"job_id": self.job_id})
            await self.close(FAULT_CODE)
