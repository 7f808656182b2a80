"""The views of live delivery: server-sent events of one job and of several, and the long-poll."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.db.models import Model
from django.http import QueryDict
from django.http.response import HttpResponseBase
from rest_framework import status
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from events.conf import event_settings
from events.exceptions import EventsError, InvalidCursor
from events.history import read_events, wait_for_events
from events.live import await_events, is_watched, subscribe
from events.live.frames import SSE_OPENING, sse_frame
from events.live.messages import Reset
from events.live.multiplexer import LogMessages, Multiplexer
from events.live.replay import Replay
from events.live.shutdown import install_shutdown_handlers
from events.types import START, Cursor, Event, check_job_id, shown
from jobs.access import throttling
from jobs.access.session_guard import Connection
from jobs.api.base import AnyNegotiation, JobsAPIView, TicketAuthentication, respond_later
from jobs.api.query import (
    HistoryParams,
    cursor_param,
    refuse_unknown,
    seconds_param,
    speed_param,
)
from jobs.api.renderers import OrjsonRenderer
from jobs.api.views.events import JobEventsView
from jobs.completion import job_completion
from jobs.conf import job_settings
from jobs.exceptions import JobError
from jobs.models import Job
from jobs.selectors import visible_status, visible_statuses

_JSON: Final = "application/json"
MOST_WAIT: Final = 30.0


class LiveNeedsASGI(APIException):
    """The SSE view was asked under WSGI."""

    status_code = status.HTTP_501_NOT_IMPLEMENTED
    default_code = "needs_asgi"
    default_detail = (
        "Live streaming needs an ASGI server (uvicorn yourproject.asgi:application); this one runs"
        " under WSGI. Ask .../events/poll/?after=<cursor>&wait=20 again and again instead."
    )


class LiveView(JobsAPIView):
    """What the views of live delivery share: tickets, and who views for how long."""

    def get_authenticators(self) -> list[BaseAuthentication]:
        """A ticket will do."""
        return [TicketAuthentication(), *super().get_authenticators()]

    def get_authenticate_header(self, request: Request) -> str:
        """The challenge of the project's own way to log in, without which a 401 becomes a 403."""
        return super().get_authenticators()[0].authenticate_header(request) or ""


class StreamView(LiveView):
    """Answers by server-sent events."""

    content_negotiation_class = AnyNegotiation

    def scopes(self, request: Request) -> list[str]:
        """To connect is limited, and to have a log again is besides."""
        replays = "replay" in request.query_params
        return [throttling.CONNECT, *([throttling.REPLAY] if replays else [])]

    def stream(self, request: Request, frames: Callable[[Connection], Any]) -> HttpResponseBase:
        """The answer whose body are these frames."""
        asked = request._request  # noqa: SLF001 - DRF has no other name for it
        if not isinstance(asked, ASGIRequest):
            raise LiveNeedsASGI
        return respond_later(asked, frames(_admission(request)))


def _admission(request: Request) -> Connection:
    """By what DRF let a request in: a token's row, or the session of a browser."""
    if request.auth is None or isinstance(request.auth, Model):
        session = getattr(request._request, "session", None)  # noqa: SLF001 - as above
        return Connection(request.user, request.auth or session)
    return Connection(request.user)


class JobEventStreamView(StreamView):
    """A job's events as they happen, by server-sent events."""

    def get(self, request: Request, job_id: str) -> HttpResponseBase:
        """Stream everything after `Last-Event-ID` or `after`: events, then `live`, … `end`.

        With `replay=1` as it was, with the time between the events divided by `speed`.
        """
        query = request.query_params
        refuse_unknown(query, {"after", "ticket", "replay", "speed"})
        visible_status(request.user, job_id)
        after, speed = self._after(request), speed_param(query)
        _check_readable(job_id)
        return self.stream(request, lambda admission: _frames(job_id, after, speed, admission))

    def _after(self, request: Request) -> Cursor:
        """A browser that reconnects by itself says where it was in the header."""
        after = cursor_param(request.query_params, "after") or START
        last_event_id = request.headers.get("Last-Event-ID")
        return Cursor.parse(last_event_id) if last_event_id else after


def _check_readable(job_id: str) -> None:
    """An unreadable log is an HTTP error, not a broken stream."""
    if not is_watched(job_id):
        read_events(job_id, limit=1)


async def _frames(
    job_id: str, after: Cursor, speed: float | None, admission: Connection
) -> AsyncGenerator[bytes, None]:
    """What a viewer is given; with a speed, a replay's."""
    install_shutdown_handlers()
    yield SSE_OPENING
    # The task that sends what is yielded here waits for a viewer who takes nothing.
    let_go = _cancelling_this_task()
    admission.job_ids = frozenset({job_id})
    with admission.guarded(let_go):
        async with (
            subscribe(job_id, after=after, completion=job_completion)
            if speed is None
            else Replay(job_id, after, speed=speed, completion=job_completion)
        ) as viewer:
            viewer.on_send_timeout = let_go
            is_over = False
            while not is_over:
                messages = await viewer.next()
                is_over = messages[-1].is_last
                yield b"".join([message.frame for message in messages])


def _cancelling_this_task() -> Callable[..., object]:
    task = asyncio.current_task()
    return lambda *_: task is not None and task.cancel()


class EventStreamView(StreamView):
    """The events of several jobs as they happen, by server-sent events."""

    def get(self, request: Request) -> HttpResponseBase:
        """Stream everything after `Last-Event-ID` or `after`, which have a cursor for each job.

        The ids are such positions: cursors in the order of the parameters `job`, with commas.
        """
        query = request.query_params
        refuse_unknown(query, {"job", "after", "ticket"})
        job_ids = _job_ids(query)
        positions = _positions(job_ids, query.get("after"))
        if last_event_id := request.headers.get("Last-Event-ID"):
            positions = _positions(job_ids, last_event_id)
        visible_statuses(request.user, job_ids)
        _check_readable(job_ids[0])
        return self.stream(request, lambda admission: _frames_of_many(positions, admission))


def _job_ids(query: QueryDict) -> list[str]:
    job_ids = [check_job_id(job_id) for job_id in query.getlist("job")]
    most = job_settings.MAX_SUBSCRIPTIONS
    if not 1 <= len(job_ids) <= most:
        raise ValidationError({"job": [f"Name 1 to {most} jobs: ?job=a&job=b."]})
    if len(set(job_ids)) < len(job_ids):
        raise ValidationError({"job": ["Name each job once."]})
    return job_ids


def _positions(job_ids: list[str], text: str | None) -> dict[str, Cursor]:
    cursors = ["0"] * len(job_ids) if text is None else text.split(",")
    if len(cursors) != len(job_ids):
        raise InvalidCursor(
            f"The position in {len(job_ids)} jobs is as many cursors, with commas between them."
            f" Given: {shown(text)}."
        )
    return dict(zip(job_ids, map(Cursor.parse, cursors), strict=True))


async def _frames_of_many(
    positions: dict[str, Cursor], admission: Connection
) -> AsyncGenerator[bytes, None]:
    install_shutdown_handlers()
    yield SSE_OPENING
    let_go = _cancelling_this_task()
    admission.job_ids = frozenset(positions)
    loop = asyncio.get_running_loop()
    with admission.guarded(let_go):
        async with Multiplexer() as bundle:
            for job_id, after in positions.items():
                bundle.subscribe(job_id, after=after, completion=job_completion)
            is_over = False
            while not is_over:
                batch = await bundle.next()
                if batch.error is not None:
                    raise batch.error
                is_over = batch.is_final or not len(bundle)
                stuck = loop.call_later(event_settings.SEND_TIMEOUT, let_go)
                try:
                    yield b"".join(_batch_frames(batch, positions))
                finally:
                    stuck.cancel()


def _batch_frames(batch: LogMessages, positions: dict[str, Cursor]) -> list[bytes]:
    """The frames of a batch; moves the positions along."""
    frames = []
    for each in batch.messages:
        message = each.message
        if isinstance(message, Event):
            positions[batch.job_id] = message.cursor
        elif isinstance(message, Reset):
            positions[batch.job_id] = Cursor.parse(message.after)
        position = ",".join(map(str, positions.values()))
        frames.append(sse_frame(message, event_id=position, job_id=batch.job_id))
    return frames


class JobEventPollView(LiveView, JobEventsView):
    """A job's events by asking again and again; the answer waits until there are some."""

    http_method_names = ("get", "head", "options")

    def get(self, request: Request, job_id: str) -> HttpResponseBase:
        """Answer as the history does, but wait up to `wait` seconds for something after `after`.

        There is no waiting for a job that is over. `waits` says whether that keeps no worker of
        the server's: under ASGI it does not.
        """
        query = request.query_params
        refuse_unknown(query, {"after", "limit", "wait", "ticket", "format"})
        params = HistoryParams.of_poll(query)
        wait = seconds_param(query, "wait", most=MOST_WAIT, default=0.0)
        page = self.page(request, params)
        if page["results"] or page["job_status"] in Job.TERMINAL_STATUSES or not wait:
            return Response(page)
        asked, after = request._request, params.after or START  # noqa: SLF001 - as above
        if not isinstance(asked, ASGIRequest):
            wait_for_events(job_id, after=after, seconds=wait)
            return Response(self.page(request, params))
        return respond_later(asked, self._later(request, params, page, wait), _JSON)

    def page(self, request: Request, params: HistoryParams) -> dict[str, Any]:
        """The page, as it is answered."""
        waits = isinstance(request._request, ASGIRequest)  # noqa: SLF001 - as above
        return {**super().page(request, params), "waits": waits}

    async def _later(
        self, request: Request, params: HistoryParams, page: dict[str, Any], wait: float
    ) -> AsyncGenerator[bytes, None]:
        """The page, once there is something on it; no thread waits for that."""
        job_id, after = self.kwargs["job_id"], params.after or START
        if await await_events(job_id, after=after, seconds=wait, completion=job_completion):
            with suppress(EventsError, JobError):  # whoever asks again is told
                read = sync_to_async(self._page_and_close, thread_sensitive=False)
                page = await read(request, params)
        yield OrjsonRenderer().render(page)

    def _page_and_close(self, request: Request, params: HistoryParams) -> dict[str, Any]:
        try:
            return self.page(request, params)
        finally:
            connection.close()
