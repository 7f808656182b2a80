"""View of the export of a log."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from events.transfer.export import CSV_HEADER, csv_rows, iter_pages
from events.transfer.ndjson import ndjson
from events.types import Event
from jobs.access import throttling
from jobs.api.base import AnyNegotiation, JobsAPIView, streaming_response
from jobs.api.query import ExportQuery
from jobs.selectors import visible_status


class _ExportFormat(NamedTuple):
    content_type: str
    header: bytes
    encode: Callable[[list[Event]], bytes]


_FORMATS: Final = {
    "ndjson": _ExportFormat("application/x-ndjson", b"", ndjson),
    "csv": _ExportFormat("text/csv; charset=utf-8", CSV_HEADER, csv_rows),
}


class JobEventExportView(JobsAPIView):
    """The log of a job as a file."""

    content_negotiation_class = AnyNegotiation

    def scopes(self, request: Request) -> list[str]:
        """Return the scope of exports."""
        return [throttling.EXPORT]

    def get(self, request: Request, job_id: str) -> HttpResponseBase:
        """Export the log up to now as NDJSON, or with `format=csv` as CSV.

        Takes the conditions of the history. An error during the export closes the connection
        before the end of the body.
        """
        query = ExportQuery.read(request)
        visible_status(request.user, job_id)
        remaining = iter_pages(
            job_id,
            after=query["after"],
            before=query["before"],
            event_filter=query["event_filter"],
        )
        # Read before the response starts, so that an unreadable log is an HTTP error.
        first = next(remaining, [])
        name = query["format"]
        response = _file_response(request, _FORMATS[name], first, remaining)
        response["Content-Disposition"] = f'attachment; filename="{job_id}.{name}"'
        return response


def _file_response(
    request: Request, file: _ExportFormat, first: list[Event], remaining: Iterator[list[Event]]
) -> HttpResponseBase:
    chunks = _chunks(file, first, remaining)
    django_request = request._request  # noqa: SLF001 - DRF has no public name for it
    if isinstance(django_request, ASGIRequest):
        return streaming_response(django_request, _iterate_in_thread(chunks), file.content_type)
    headers = {"Cache-Control": "private, no-cache"}
    return StreamingHttpResponse(chunks, content_type=file.content_type, headers=headers)


def _chunks(
    file: _ExportFormat, first: list[Event], remaining: Iterator[list[Event]]
) -> Iterator[bytes]:
    yield file.header + file.encode(first)
    for page in remaining:
        yield file.encode(page)


async def _iterate_in_thread(chunks: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Produce the chunks in a thread of their own, each when the one before was sent."""
    thread, loop = ThreadPoolExecutor(1), asyncio.get_running_loop()
    try:
        while (chunk := await loop.run_in_executor(thread, next, chunks, None)) is not None:
            yield chunk
    finally:
        thread.submit(connections.close_all)
        thread.shutdown(wait=False)
