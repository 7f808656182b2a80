"""The views of logs: a job's history, what is found in all of them, the state of a stream."""

from collections.abc import Sequence
from typing import Any, Final

from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views.decorators.http import conditional_page
from rest_framework import status
from rest_framework.exceptions import ParseError, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from events.archive.filters import EventFilter
from events.codec import event_dict
from events.conf import event_settings
from events.history import archive_position, read_events, search_events
from events.producer.external import publish_sequenced
from events.publisher import get_publisher
from events.types import START, Event, shown
from jobs.access import throttling
from jobs.api.base import JobsAPIView
from jobs.api.filters import JOB_FILTERS, filtered_jobs
from jobs.api.producer_headers import Producing
from jobs.api.query import (
    CONDITIONS,
    HistoryParams,
    conditions_param,
    limit_param,
    link_of,
    order_param,
    position_param,
    refuse_unknown,
    times_param,
)
from jobs.models import Job
from jobs.selectors import has_permission, visible_status

SEARCH_PAGE: Final = 100
_MAY_PUBLISH: Final = "job_events_jobs.publish_events"
MOST_EVENTS: Final = 1000
_LARGE_EVENTS: Final = 8
# Whoever has a page asks whether it has changed, unless it never will.
_ASK: Final = "private, no-cache"
_FOR_EVER: Final = "private, max-age=31536000, immutable"


class JobEventsView(JobsAPIView):
    """The history of a job."""

    def scopes(self, request: Request) -> list[str]:
        """Publishing is limited; reading is not."""
        return [throttling.PUBLISH] if request.method == "POST" else []

    @method_decorator(conditional_page)
    def get(self, request: Request, job_id: str) -> HttpResponseBase:
        """Read a page of events; `cursor` is the position after it, `next` the page after it."""
        params = HistoryParams.read(request.query_params)
        page = self.page(request, params)
        lasts = _FOR_EVER if _is_fixed(params, page) else _ASK
        return Response(page, headers={"Cache-Control": lasts, "Vary": "Authorization, Cookie"})

    def post(self, request: Request, job_id: str) -> Response:
        """Publish an event, or an array of events, all or none; answer their ids.

        With `Producer-Id` and `Producer-Sequence`, the number of the first event, or with an
        `Idempotency-Key`, a request may come again: its events are there once.
        """
        visible_status(request.user, job_id)
        if not has_permission(request.user, _MAY_PUBLISH):
            raise PermissionDenied(f"To publish events takes the permission {_MAY_PUBLISH}.")
        refuse_unknown(request.query_params, {"format"})
        producing = Producing.read(request.headers, request.user)
        events = _events_of(request)
        if producing.producer is None:
            publisher = get_publisher(epoch=producing.epoch)
            ids = publisher.publish_events(job_id, events)
        else:
            ids = publish_sequenced(
                job_id,
                events,
                producer=producing.producer,
                epoch=producing.epoch,
                sequence=producing.sequence,
            )
        return Response({"ids": ids}, status.HTTP_201_CREATED)

    @property
    def body_limit(self) -> int:
        """Bytes: some of the largest events, or many small ones."""
        return event_settings.MAX_EVENT_BYTES * _LARGE_EVENTS

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
            **params.conditions,
        )
        page = events[: params.limit]
        forward = "before" if params.order == "desc" else "after"
        is_more = len(events) > len(page)
        return {
            "results": [event_dict(event) for event in page],
            "next": link_of(request, **{forward: page[-1].id}) if is_more else None,
            "cursor": _cursor_after(params, page),
            "job_status": job_status,
        }


def _events_of(request: Request) -> list[dict[str, Any]]:
    body = request.data
    if not body and request.META.get("CONTENT_LENGTH") in (None, "", "0"):
        raise ParseError("There is no body: send an event, or an array of events.")
    events = body if isinstance(body, list) else [body]
    if not 1 <= len(events) <= MOST_EVENTS:
        raise ParseError(f"Publish 1 to {MOST_EVENTS} events at once. Given: {len(events)}.")
    for number, event in enumerate(events):
        if not isinstance(event, dict):
            raise ParseError(f"An event is an object. Number {number} is not: {shown(event)}.")
    return events


def _is_fixed(params: HistoryParams, page: dict[str, Any]) -> bool:
    """Whether the page will be the same for ever.

    Only a completed job is never tried again; even so, something may be appended to its log.
    """
    is_closed = page["next"] is not None and (params.order == "asc" or params.before is not None)
    return is_closed and page["job_status"] == Job.Status.COMPLETED


def _cursor_after(params: HistoryParams, page: Sequence[Event]) -> str:
    """Where to read on for later events, however the page is ordered."""
    if not page:
        return str(params.after or START)
    return page[-1 if params.order == "asc" else 0].id


class EventSearchView(JobsAPIView):
    """The events of all jobs that the caller may see."""

    @method_decorator(conditional_page)
    def get(self, request: Request) -> HttpResponseBase:
        """Search what is archived of the caller's jobs, the newest first; `next` goes on."""
        query = request.query_params
        refuse_unknown(query, {"cursor", "order", "limit", "format"} | CONDITIONS | JOB_FILTERS)
        since, until = times_param(query)
        order = order_param(query, "desc")
        found = search_events(
            filtered_jobs(request).order_by().values_list("job_id"),
            EventFilter.of(**conditions_param(query)),
            after=since,
            before=until,
            position=position_param(query),
            order=order,
            limit=limit_param(query, most=event_settings.PAGE_LIMIT, default=SEARCH_PAGE),
        )
        page = {
            "results": [event_dict(event) for event in found.events],
            "next": link_of(request, cursor=found.position) if found.position else None,
        }
        return Response(page, headers={"Cache-Control": _ASK, "Vary": "Authorization, Cookie"})


class JobStreamView(JobsAPIView):
    """The state of a job's stream."""

    def get(self, request: Request, job_id: str) -> Response:
        """Say how long the stream is, the ids of the log's ends, and how far it is archived."""
        refuse_unknown(request.query_params, {"format"})
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
