"""The views of a job's log: history, the stream's state, and live delivery by SSE."""

from collections.abc import Sequence
from typing import Any

from django.http.response import HttpResponseBase
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from events.codec import event_dict
from events.history import archive_position, read_events
from events.publisher import get_publisher
from events.types import START, Event
from jobs.api.base import JobsAPIView
from jobs.api.params import HistoryParams
from jobs.selectors import visible_status


class JobEventsView(JobsAPIView):
    """The history of a job."""

    def get(self, request: Request, job_id: str) -> HttpResponseBase:
        """Read a page of events; `cursor` is the position after it, `next` the page after it."""
        return Response(self.page(request, HistoryParams.read(request.query_params)))

    def page(self, request: Request, params: HistoryParams) -> dict[str, Any]:
        """The page, as it is answered."""
        job_id = self.kwargs["job_id"]
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
        return {
            "results": [event_dict(event) for event in page],
            "next": self._next(request, page) if len(events) > len(page) else None,
            "cursor": _cursor_after(params, page),
            "job_status": job_status,
        }

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
