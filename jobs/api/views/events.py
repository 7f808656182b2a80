"""Views of logs: history and publishing, search in all logs, export, the state of a stream."""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.http import conditional_page
from rest_framework import status
from rest_framework.exceptions import ParseError, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from events.codec import event_dict
from events.conf import event_settings
from events.history import archive_position, read_events, search_events
from events.history.page_size import first_bytes
from events.live.rejection import NO_STORE
from events.live.threads import in_database_thread
from events.producer.external import digest_of, publish_sequenced
from events.publisher import get_publisher
from events.transfer.export import CSV_HEADER, csv_rows, iter_pages
from events.transfer.ndjson import ndjson
from events.types import START, Event, shown
from jobs.access import throttling
from jobs.api.base import AnyNegotiation, JobsAPIView, is_asgi, streaming_response
from jobs.api.pagination import page_link
from jobs.api.query import (
    IDEMPOTENCY_KEY,
    MAX_PUBLISHED_EVENTS,
    PRODUCER_EPOCH,
    PRODUCER_ID,
    PRODUCER_SEQUENCE,
    ExportQuery,
    HistoryQuery,
    ProducerHeaders,
    RequestParameters,
    SearchQuery,
)
from jobs.models import Job
from jobs.selectors import has_permission, visible_jobs, visible_status

_PUBLISH_PERMISSION: Final = "job_events_jobs.publish_events"
# A request to publish may contain so many events of the maximum size.
_MAX_LARGE_EVENTS: Final = 8
_IMMUTABLE: Final = "private, max-age=31536000, immutable"
_FORWARD: Final = {"asc": "after", "desc": "before"}
# By format: the content type, the start of the file, and the encoder of a page of events.
_FORMATS: Final[dict[str, tuple[str, bytes, Callable[[list[Event]], bytes]]]] = {
    "ndjson": ("application/x-ndjson", b"", ndjson),
    "csv": ("text/csv; charset=utf-8", CSV_HEADER, csv_rows),
}


class JobEventsView(JobsAPIView):
    """The log of a job."""

    max_page_bytes = 1024 * 1024  # of event data, or one event

    def scopes(self, request: Request) -> list[str]:
        return [throttling.PUBLISH] if request.method == "POST" else []

    @method_decorator(conditional_page)
    def get(self, request: Request, job_id: str) -> HttpResponseBase:
        """Read a page of the history; `cursor` is the position after it.

        `next` is the URL of the next page. `data.<path>=value` selects events with this value at
        this path of their data; several conditions must all hold.
        """
        query = HistoryQuery.read(request)
        page = self.page(request, query)
        caching = {"Cache-Control": _IMMUTABLE} if _is_immutable(query, page) else None
        return Response(page, headers=caching)

    def post(self, request: Request, job_id: str) -> Response:
        """Publish one event, or an array of events, all or none; returns their ids.

        With `Producer-Id` and `Producer-Sequence`, the number of the first event, or with an
        `Idempotency-Key`, a request may be repeated: its events are appended once. 422 if the key
        was sent with other events.
        """
        visible_status(request.user, job_id)
        if not has_permission(request.user, _PUBLISH_PERMISSION):
            text = _("Publishing requires the permission %(name)s.")
            raise PermissionDenied(text % {"name": _PUBLISH_PERMISSION})
        headers = ProducerHeaders.read(request)
        ids = _publish(job_id, _events_of(request), str(request.user.pk), headers)
        return Response({"ids": ids}, status.HTTP_201_CREATED)

    @property
    def body_limit(self) -> int:
        """Maximum bytes of a request body: a few large events, or many small ones."""
        return event_settings.MAX_EVENT_BYTES * _MAX_LARGE_EVENTS

    def page(self, request: Request, query: dict[str, Any]) -> dict[str, Any]:
        """Return a page of the history; `query` is a validated HistoryQuery or PollQuery."""
        job_id, limit, order = self.kwargs["job_id"], query["limit"], query["order"]
        # Read before the events: an event is appended after the commit of the status it reports.
        job_status = visible_status(request.user, job_id)
        events = read_events(
            job_id,
            after=query["after"],
            before=query["before"],
            limit=limit + 1,
            order=order,
            event_filter=query["event_filter"],
            strict=query.get("strict", False),
        )
        page = first_bytes(events[:limit], self.max_page_bytes)
        next_link = None
        if len(events) > len(page):
            next_link = page_link(request, **{_FORWARD[order]: page[-1].id})
        return {
            "results": [event_dict(event) for event in page],
            "next": next_link,
            "cursor": _cursor_after(query, page),
            "job_status": job_status,
        }


def _events_of(request: Request) -> list[dict[str, Any]]:
    body = request.data
    if not body and request.META.get("CONTENT_LENGTH") in (None, "", "0"):
        raise ParseError(_("The body is empty: send an event, or an array of events."))
    events = body if isinstance(body, list) else [body]
    if not 1 <= len(events) <= MAX_PUBLISHED_EVENTS:
        text = _("Send 1 to %(limit)d events. Given: %(count)d.")
        raise ParseError(text % {"limit": MAX_PUBLISHED_EVENTS, "count": len(events)})
    for number, event in enumerate(events):
        if not isinstance(event, dict):
            text = _("Event %(number)d must be an object. Given: %(value)s.")
            raise ParseError(text % {"number": number, "value": shown(event)})
    return events


def _publish(
    job_id: str, events: list[dict[str, Any]], user: str, headers: dict[str, Any]
) -> list[str]:
    """Append the events; names and keys of different users are different."""
    name, epoch, key = headers[PRODUCER_ID], headers[PRODUCER_EPOCH], headers[IDEMPOTENCY_KEY]
    if name is not None:
        sequence = headers[PRODUCER_SEQUENCE]
        return publish_sequenced(
            job_id, events, producer=(user, name), epoch=epoch, sequence=sequence
        )
    user_key = None if key is None else digest_of([user, key])
    return get_publisher(epoch=epoch).publish_events(job_id, events, idempotency_key=user_key)


def _is_immutable(query: dict[str, Any], page: dict[str, Any]) -> bool:
    """Return whether the page never changes.

    Only a completed job cannot be retried. Events may be appended even to its log.
    """
    is_closed = page["next"] is not None and (
        query["order"] == "asc" or query["before"] is not None
    )
    return is_closed and page["job_status"] == Job.Status.COMPLETED


def _cursor_after(query: dict[str, Any], page: Sequence[Event]) -> str:
    """Return the position of the latest event of the page, in either order."""
    if not page:
        return str(query["after"] or START)
    return page[-1 if query["order"] == "asc" else 0].id


class EventSearchView(JobsAPIView):
    """The events of all jobs visible to the caller."""

    @method_decorator(conditional_page)
    def get(self, request: Request) -> HttpResponseBase:
        """Search the archived events of all jobs visible to the caller, by default newest first.

        `next` is the URL of the next page. `data.<path>=value` selects events with this value at
        this path of their data; several conditions must all hold.
        """
        query = SearchQuery.read(request)
        found = search_events(
            visible_jobs(request.user).filter(query["jobs"]).order_by().values_list("job_id"),
            query["event_filter"],
            after=query["after"],
            before=query["before"],
            position=query["cursor"],
            order=query["order"],
            limit=query["limit"],
        )
        page = {
            "results": [event_dict(event) for event in found.events],
            "next": page_link(request, cursor=found.position) if found.position else None,
        }
        return Response(page)


class JobStreamView(JobsAPIView):
    """The state of the stream of a job."""

    def get(self, request: Request, job_id: str) -> Response:
        """Return the length of the stream, the first and last id of the log, and the archive
        position."""
        RequestParameters.read(request)
        visible_status(request.user, job_id)
        first, last = (read_events(job_id, limit=1, order=order) for order in ("asc", "desc"))
        return Response(
            {
                "job_id": job_id,
                "length": get_publisher().get_stream_length(job_id),
                "first_id": first[0].id if first else None,
                "last_id": last[0].id if last else None,
                "archive_position": archive_position(job_id),
            }
        )


class JobEventExportView(JobsAPIView):
    """The log of a job as a file."""

    cache_control = NO_STORE
    content_negotiation_class = AnyNegotiation

    def scopes(self, request: Request) -> list[str]:
        return [throttling.EXPORT]

    def get(self, request: Request, job_id: str) -> HttpResponseBase:
        """Export the log up to now as NDJSON, or with `format=csv` as CSV.

        Takes the conditions of the history. An error during the export closes the connection
        before the end of the body.
        """
        query = ExportQuery.read(request)
        visible_status(request.user, job_id)
        conditions = {name: query[name] for name in ("after", "before", "event_filter")}
        content_type, header, encode = _FORMATS[query["format"]]
        pages = _encoded(iter_pages(job_id, **conditions), encode)
        # Read before the response starts, so that an unreadable log is an HTTP error.
        first = header + next(pages, b"")
        response = _file_response(request, chain([first], pages), content_type)
        filename = f"{job_id}.{query['format']}"
        response["Content-Disposition"] = f'attachment; filename="{filename}"'
        return response


def _encoded(
    pages: Iterator[list[Event]], encode: Callable[[list[Event]], bytes]
) -> Iterator[bytes]:
    """Encode each page, and release its events before it is sent."""
    for page in pages:
        part = encode(page)
        page.clear()
        yield part


def _file_response(
    request: Request, chunks: Iterator[bytes], content_type: str
) -> StreamingHttpResponse:
    if is_asgi(request):
        return streaming_response(request, _iterate_in_threads(chunks), content_type)
    return StreamingHttpResponse(chunks, content_type=content_type)


async def _iterate_in_threads(chunks: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Produce each chunk when the one before was sent; meanwhile no thread or connection is held.

    A download lasts as long as the client wants.
    """
    while (chunk := await in_database_thread(next, chunks, None)) is not None:
        yield chunk
