"""The views of a job's log: history, the stream's state, and live delivery by SSE."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http.response import HttpResponseBase
from django.urls import reverse
from rest_framework import status
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from events import sse
from events.codec import event_dict
from events.encoded import END
from events.history import archive_position, read_events
from events.live import viewing
from events.publisher import get_publisher
from events.streams import stream_response
from events.types import START, Cursor, Event
from jobs.api.base import JobsAPIView, TicketAuthentication
from jobs.api.formats import OrjsonRenderer
from jobs.api.params import HistoryParams, cursor_param, refuse_unknown
from jobs.live import job_ending
from jobs.selectors import visible_status


class LiveNeedsASGI(APIException):
    """The SSE view was asked under WSGI."""

    status_code = status.HTTP_501_NOT_IMPLEMENTED
    default_code = "needs_asgi"
    default_detail = (
        "Live streaming needs an ASGI server (uvicorn yourproject.asgi:application); this one runs"
        " under WSGI. Read .../events/?after=<cursor> again and again instead."
    )


class JobEventsView(JobsAPIView):
    """The history of a job."""

    def get(self, request: Request, job_id: str) -> Response:
        """Read a page of events; `cursor` is the position after it, `next` the page after it."""
        params = HistoryParams.read(request.query_params)
        # Read before the events, which are appended just after the commit that they speak of.
        job_status = visible_status(request.user, job_id)
        events = read_events(
            job_id,
            after=params.after,
            before=params.before,
            limit=params.limit + 1,
            order=params.order,
        )
        page = events[: params.limit]
        return Response(
            {
                "results": [event_dict(event) for event in page],
                "next": self._next(request, page) if len(events) > len(page) else None,
                "cursor": _cursor_after(params, page),
                "job_status": job_status,
            }
        )

    def _next(self, request: Request, page: Sequence[Event]) -> str:
        query = request.query_params.copy()
        query["before" if query.get("order") == "desc" else "after"] = page[-1].id
        path = reverse("jobs:api-job-events", kwargs=self.kwargs)
        return request.build_absolute_uri(f"{path}?{query.urlencode()}")


def _cursor_after(params: HistoryParams, page: Sequence[Event]) -> str:
    """Where to read on for later events, however the page is ordered."""
    if not page:
        return str(params.after or START)
    return page[-1 if params.order == "asc" else 0].id


class JobStreamView(JobsAPIView):
    """The state of a job's stream."""

    def get(self, request: Request, job_id: str) -> Response:
        """Say how long the stream is, the ids of the log's ends, and how far it is archived."""
        visible_status(request.user, job_id)
        first = read_events(job_id, limit=1)
        last = read_events(job_id, limit=1, order="desc")
        return Response(
            {
                "job_id": job_id,
                "length": get_publisher().get_stream_length(job_id),
                "first_id": _id_of(first),
                "last_id": _id_of(last),
                "archive_position": archive_position(job_id),
            }
        )


def _id_of(events: Sequence[Event]) -> str | None:
    return events[0].id if events else None


class AnyNegotiation(BaseContentNegotiation):
    """Answers everybody: an EventSource asks for nothing but text/event-stream."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """The one parser there is."""
        return parsers[0]

    def select_renderer(
        self,
        request: Request,
        renderers: Any,
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        """JSON, in which errors are told."""
        return OrjsonRenderer(), OrjsonRenderer.media_type


class JobEventStreamView(JobsAPIView):
    """A job's events as they happen, by server-sent events."""

    content_negotiation_class = AnyNegotiation

    def get_authenticators(self) -> list[BaseAuthentication]:
        """A ticket will do."""
        return [TicketAuthentication(), *super().get_authenticators()]

    def get_authenticate_header(self, request: Request) -> str:
        """The challenge of the project's own way to log in, without which a 401 becomes a 403."""
        return super().get_authenticators()[0].authenticate_header(request) or ""

    def get(self, request: Request, job_id: str) -> HttpResponseBase:
        """Stream everything after `Last-Event-ID` or `after`: events, then `live`, … `end`."""
        refuse_unknown(request.query_params, {"after", "ticket"})
        visible_status(request.user, job_id)
        after = self._after(request)
        if not isinstance(request._request, ASGIRequest):  # noqa: SLF001 - DRF has no other name
            raise LiveNeedsASGI
        read_events(job_id, limit=1)  # an unreadable log is an HTTP error, not a broken stream
        if not connection.in_atomic_block:
            connection.close()  # the stream may last for hours
        return stream_response(request._request, _frames(job_id, after))  # noqa: SLF001 - as above

    def _after(self, request: Request) -> Cursor:
        """A browser that reconnects by itself says where it was in the header."""
        last_event_id = request.headers.get("Last-Event-ID")
        if last_event_id:
            return Cursor.parse(last_event_id)
        return cursor_param(request.query_params, "after") or START


async def _frames(job_id: str, after: Cursor) -> AsyncGenerator[bytes, None]:
    yield sse.OPENING
    async with viewing(job_id, after=after, ending=job_ending) as viewer:
        # The task that sends what is yielded here waits for a viewer who takes nothing.
        sending = asyncio.current_task()
        viewer.on_stuck = sending.cancel if sending is not None else None
        last = None
        while last is not END:
            messages = await viewer.next()
            last = messages[-1]
            yield b"".join([message.frame for message in messages])
