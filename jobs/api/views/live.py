"""Views of live delivery: server-sent events of one job and of several, long-poll, tickets."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from django.http.response import HttpResponseBase
from rest_framework import status
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.response import Response

from events.conf import event_settings
from events.database import UNAVAILABLE
from events.error_text import ErrorText
from events.exceptions import EventsError, LogDeleted
from events.history import read_events, wait_for_events
from events.live import await_events, is_watched, subscribe
from events.live.asgi import joined
from events.live.frames import SSE_OPENING, drain, sse_frame
from events.live.messages import Reset
from events.live.multiplexer import LogMessages, Multiplexer
from events.live.rejection import NO_STORE
from events.live.replay import Replay
from events.live.shutdown import install_shutdown_handlers
from events.live.subscriber import Subscriber
from events.live.threads import in_database_thread
from events.types import START, Cursor, Event
from jobs.access import throttling
from jobs.access.session_guard import Connection, is_revoked
from jobs.access.tickets import FIRST_USE_SECONDS, make_ticket
from jobs.api.base import (
    AnyNegotiation,
    JobsAPIView,
    TicketAuthentication,
    is_asgi,
    logins_of_request,
    streaming_response,
)
from jobs.api.problem_details import Problem
from jobs.api.query import MultiStreamQuery, PollQuery, StreamQuery
from jobs.api.renderers import OrjsonRenderer
from jobs.api.views.events import JobEventsView
from jobs.completion import end_of_log, job_completion
from jobs.exceptions import JobError
from jobs.models import Job
from jobs.selectors import visible_job, visible_status, visible_statuses

_JSON: Final = "application/json"
# Events that a long-poll reads at most: it may use only some of them.
_MAX_POLLED_EVENTS: Final = 200
_NEEDS_ASGI: Final = ErrorText(
    "Live streaming needs an ASGI server (uvicorn yourproject.asgi:application); this server uses"
    " WSGI. Use the long-poll instead: .../events/poll/?after=<cursor>&wait=20."
)


class LiveView(JobsAPIView):
    """Base class of live delivery; accepts tickets."""

    cache_control = NO_STORE

    def get_authenticators(self) -> list[BaseAuthentication]:
        return [TicketAuthentication(), *super().get_authenticators()]

    def get_authenticate_header(self, request: Request) -> str:
        """Return the challenge of the project's authentication; without one, DRF sends 403."""
        return super().get_authenticators()[0].authenticate_header(request) or ""

    def connection(self, request: Request, job_ids: Iterable[str]) -> Connection:
        """Return the connection of the request, to check its access while it lasts."""
        connection = Connection(request.user, logins_of_request(request))
        connection.job_ids = frozenset(job_ids)
        return connection


class StreamView(LiveView):
    """Base class of the views of server-sent events."""

    content_negotiation_class = AnyNegotiation

    def scopes(self, request: Request) -> list[str]:
        replays = "replay" in request.query_params
        return [throttling.CONNECT, *([throttling.REPLAY] if replays else [])]

    def connect(self, request: Request, job_ids: Sequence[str]) -> Connection:
        """Return the connection. Raises the errors of jobs and logs, and Problem under WSGI.

        After the response has started, they could not be HTTP errors.
        """
        visible_statuses(request.user, job_ids)
        if not is_watched(job_ids[0]):
            read_events(job_ids[0], limit=1)
        if not is_asgi(request):
            raise Problem("needs-asgi", _NEEDS_ASGI)
        return self.connection(request, job_ids)


class JobEventStreamView(StreamView):
    """The events of a job as server-sent events."""

    def get(self, request: Request, job_id: str) -> HttpResponseBase:
        """Stream the events after `after` or `Last-Event-ID`, then `live`, new events, and `end`.

        With `replay=1` the events are sent with their original spacing, divided by `speed`.
        """
        query = StreamQuery.read(request)
        connection = self.connect(request, [job_id])
        frames = _frames(job_id, query["after"], query["speed"], connection)
        return streaming_response(request, frames)


async def _frames(
    job_id: str, after: Cursor, speed: float | None, connection: Connection
) -> AsyncGenerator[bytes, None]:
    """Yield the messages of a subscriber; with a speed, of a replay."""
    install_shutdown_handlers()
    yield SSE_OPENING
    cancel = _canceller()
    with connection.guarded(cancel), suppress(LogDeleted):  # 404 when the client reconnects
        async with (
            subscribe(job_id, after=after, completion=job_completion, transport="sse")
            if speed is None
            else Replay(job_id, after, speed=speed, completion=job_completion)
        ) as subscriber:
            subscriber.on_send_timeout = cancel
            is_last = False
            while not is_last:
                frame, is_last = await _next_frames(subscriber)
                yield frame


async def _next_frames(subscriber: Subscriber) -> tuple[bytes, bool]:
    """Return the next messages as one part of the body, and whether it is the last one."""
    messages = await subscriber.next()
    return b"".join([message.frame for message in messages]), messages[-1].is_last


def _canceller() -> Callable[..., object]:
    """Return a function that cancels the current task, which sends what the generator yields."""
    task = asyncio.current_task()
    return lambda *_: task is not None and task.cancel()


class EventStreamView(StreamView):
    """The events of several jobs as server-sent events."""

    def get(self, request: Request) -> HttpResponseBase:
        """Stream the events of several jobs after `after` or `Last-Event-ID`.

        The id of a message is a position: one cursor for each job, in the order of the parameters
        `job`, separated by commas.
        """
        positions = MultiStreamQuery.read(request)["positions"]
        connection = self.connect(request, list(positions))
        return streaming_response(request, _multiplexed_frames(positions, connection))


async def _multiplexed_frames(
    positions: dict[str, Cursor], connection: Connection
) -> AsyncGenerator[bytes, None]:
    install_shutdown_handlers()
    yield SSE_OPENING
    cancel = _canceller()
    loop = asyncio.get_running_loop()
    with connection.guarded(cancel), suppress(LogDeleted):  # 404 when the client reconnects
        async with Multiplexer("sse_multi") as multiplexer:
            for job_id, after in positions.items():
                multiplexer.subscribe(job_id, after=after, completion=job_completion)
            is_completed = False
            while not is_completed:
                batch = await multiplexer.next()
                if batch.error is not None:
                    raise batch.error
                is_completed = batch.is_final or not len(multiplexer)
                for part in joined(_encode(batch, positions)):
                    send_timeout = loop.call_later(event_settings.SEND_TIMEOUT, cancel)
                    try:
                        yield part
                    finally:
                        send_timeout.cancel()


def _encode(batch: LogMessages, positions: dict[str, Cursor]) -> Iterator[bytes]:
    """Yield the frames of a batch, and advance the position of its job."""
    for each in drain(batch.messages):
        message = each.message
        if isinstance(message, Event):
            positions[batch.job_id] = message.cursor
        elif isinstance(message, Reset):
            positions[batch.job_id] = Cursor.parse(message.after)
        position = ",".join(map(str, positions.values()))
        yield sse_frame(message, event_id=position, job_id=batch.job_id)


class JobEventPollView(LiveView, JobEventsView):
    """The events of a job by long-poll."""

    http_method_names = ("get", "head", "options")
    max_page_bytes = 64 * 1024

    def get(self, request: Request, job_id: str) -> HttpResponseBase:
        """Return the events after `after`; wait up to `wait` seconds for the first, or the end.

        `end` is true if the job is finished and there are no events after the page. `waits` is true
        if a waiting request occupies no worker of the server, as under ASGI.
        """
        query = PollQuery.read(request)
        page = self.page(request, query)
        is_awaited = not (page["results"] or page["end"]) and query["wait"] > 0
        access = self.connection(request, [job_id]) if is_awaited else None
        if is_asgi(request):  # a client that waits or does not read occupies no thread
            return streaming_response(request, self._body(request, query, page, access), _JSON)
        if access is not None:
            wait_for_events(job_id, after=query["after"] or START, seconds=query["wait"])
            page = self._later_page(request, query, page, access)
        return Response(page)

    def page(self, request: Request, query: dict[str, Any]) -> dict[str, Any]:
        """Return a page of the history, whether it is the last, and whether waiting is cheap."""
        job_id = self.kwargs["job_id"]
        is_finished = visible_status(request.user, job_id) in Job.TERMINAL_STATUSES
        end = end_of_log(job_id) if is_finished else None
        limit = min(query["limit"], _MAX_POLLED_EVENTS)
        page = super().page(request, {**query, "limit": limit})
        is_end = end is not None and page["cursor"] == str(end)
        return {**page, "end": is_end, "waits": is_asgi(request)}

    def _later_page(
        self, request: Request, query: dict[str, Any], empty: dict[str, Any], access: Connection
    ) -> dict[str, Any]:
        """Return the page after waiting; the empty one if access was revoked meanwhile."""
        return empty if is_revoked(access) else self.page(request, query)

    async def _body(
        self,
        request: Request,
        query: dict[str, Any],
        page: dict[str, Any],
        access: Connection | None,
    ) -> AsyncGenerator[bytes, None]:
        """Yield the page, or the one that is read as soon as it has an event."""
        job_id, after = self.kwargs["job_id"], query["after"] or START
        # The next request reports the error.
        with suppress(EventsError, JobError, *UNAVAILABLE):
            if access is not None and await await_events(
                job_id, after=after, seconds=query["wait"], completion=job_completion
            ):
                page = await in_database_thread(self._later_page, request, query, page, access)
        yield OrjsonRenderer().render(page)


class JobTicketView(JobsAPIView):
    """Tickets for clients that can send neither a cookie nor a header."""

    cache_control = NO_STORE

    def post(self, request: Request, job_id: str) -> Response:
        """Create a ticket for the parameter `ticket` of the stream and the socket of a job.

        It must be used within `expires_in` seconds. After that the same URL may reconnect, with one
        connection at a time, until the login of this request ends.
        """
        job = visible_job(request.user, job_id)
        ticket = make_ticket(job, request.user, logins_of_request(request))
        answer = {"ticket": ticket, "expires_in": FIRST_USE_SECONDS}
        return Response(answer, status.HTTP_201_CREATED)
