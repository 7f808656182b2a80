"""A whole log as a file."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from events.transfer.export import CSV_HEADER, csv_rows, iter_pages
from events.transfer.ndjson import ndjson
from events.types import Event, shown
from jobs.access import throttling
from jobs.api.base import AnyNegotiation, JobsAPIView, respond_later
from jobs.api.query import HistoryParams
from jobs.selectors import visible_status


class _Form(NamedTuple):
    content_type: str
    header: bytes
    lines: Callable[[list[Event]], bytes]


_FORMS: Final = {
    "ndjson": _Form("application/x-ndjson", b"", ndjson),
    "csv": _Form("text/csv; charset=utf-8", CSV_HEADER, csv_rows),
}


class JobEventExportView(JobsAPIView):
    """A job's log, whole or what is wanted of it, as a file."""

    content_negotiation_class = AnyNegotiation

    def scopes(self, request: Request) -> list[str]:
        """Exports are limited."""
        return [throttling.EXPORT]

    def get(self, request: Request, job_id: str) -> HttpResponseBase:
        """Send the log up to now as NDJSON, or with `format=csv` as CSV.

        Takes the conditions of the history. A fault on the way breaks the answer off.
        """
        query = request.query_params
        params = HistoryParams.of_export(query)
        name = query.get("format", "ndjson")
        if name not in _FORMS:
            raise ValidationError({"format": [f"It is ndjson or csv. Given: {shown(name)}."]})
        visible_status(request.user, job_id)
        found = iter_pages(
            job_id, after=params.after, before=params.before, conditions=params.conditions
        )
        first = next(found, [])  # what is wrong with the log is told before the answer begins
        chunks = _chunks(_FORMS[name], first, found)
        response = _respond(request, chunks, _FORMS[name].content_type)
        response["Content-Disposition"] = f'attachment; filename="{job_id}.{name}"'
        return response


def _chunks(form: _Form, first: list[Event], found: Iterator[list[Event]]) -> Iterator[bytes]:
    yield form.header + form.lines(first)
    for page in found:
        yield form.lines(page)


def _respond(request: Request, chunks: Iterator[bytes], content_type: str) -> HttpResponseBase:
    asked = request._request  # noqa: SLF001 - DRF has no other name for it
    if isinstance(asked, ASGIRequest):
        return respond_later(asked, _in_thread(chunks), content_type)
    return StreamingHttpResponse(
        chunks, content_type=content_type, headers={"Cache-Control": "private, no-cache"}
    )


async def _in_thread(chunks: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The chunks, made one by one, as they are sent, by a thread of their own."""
    thread, loop = ThreadPoolExecutor(1), asyncio.get_running_loop()
    try:
        while (chunk := await loop.run_in_executor(thread, next, chunks, None)) is not None:
            yield chunk
    finally:
        thread.submit(connections.close_all)
        thread.shutdown(wait=False)
