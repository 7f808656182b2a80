"""The operations of the API: ids, parameters, bodies, responses and problem types."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from rest_framework.views import APIView

from jobs.api import query
from jobs.api.openapi import responses as content
from jobs.api.openapi.responses import Content
from jobs.api.producer_headers import IdempotencyHeaders, ProducerHeaders
from jobs.api.query import RequestParameters
from jobs.api.views import events, export, inputs, jobs, live

_EVERY_OPERATION: Final = ("invalid", "not-authenticated", "permission-denied", "not-acceptable")
_BODY: Final = ("unsupported-media-type", "body-too-large")
_JOB: Final = ("not-found",)
_CREATE: Final = ("conflict", "key-used", "unavailable")
_CHANGE: Final = ("not-found", "conflict", "unavailable")
_LOG: Final = (*_CHANGE, "gone")
_PUBLISH: Final = (*_CHANGE, "out-of-order", "stale-epoch", "throttled")
_STREAM: Final = (*_LOG, "throttled", "needs-asgi")


class Operation(NamedTuple):
    """What the schema contains beside the path, and the docstring of the method."""

    id: str
    tag: str
    result: tuple[Content, ...]
    problem_types: tuple[str, ...] = ()
    parameters: type[RequestParameters] = RequestParameters
    body: Content | None = None
    has_etag: bool = False

    @property
    def responses(self) -> list[Content]:
        """The contents of all responses."""
        body = _BODY if self.body else ()
        problem_types = (*_EVERY_OPERATION, *body, *self.problem_types)
        return [*self.result, *(content.PROBLEMS[each] for each in problem_types)]


_JOB_CREATED: Final = (content.CREATED_JOB, content.JOB)
_EXPORT: Final = (content.NDJSON, content.CSV)

OPERATIONS: Final[Mapping[type[APIView], Mapping[str, Operation]]] = {
    jobs.JobListView: {
        "GET": Operation(
            "job_list", "jobs", (content.JOB_PAGE,), (), query.JobListQuery, has_etag=True
        ),
        "POST": Operation(
            "job_create", "jobs", _JOB_CREATED, _CREATE, IdempotencyHeaders, content.NEW_JOB
        ),
    },
    jobs.JobCountsView: {
        "GET": Operation(
            "job_counts", "jobs", (content.JOB_COUNTS,), (), query.JobCountsQuery, has_etag=True
        )
    },
    jobs.JobDetailView: {
        "GET": Operation("job_retrieve", "jobs", (content.JOB,), _JOB, has_etag=True)
    },
    jobs.JobCancelView: {
        "POST": Operation("job_cancel", "jobs", (content.JOB,), _CHANGE, body=content.CANCELLATION)
    },
    jobs.JobRetryView: {"POST": Operation("job_retry", "jobs", (content.JOB,), _CHANGE)},
    jobs.JobTicketView: {"POST": Operation("job_ticket", "live", (content.TICKET,), _JOB)},
    inputs.JobInputsView: {
        "GET": Operation("input_list", "jobs", (content.QUESTIONS,), _JOB),
        "POST": Operation("input_give", "jobs", (content.QUESTION,), _CHANGE, body=content.ANSWER),
    },
    events.JobEventsView: {
        "GET": Operation(
            "event_list", "events", (content.HISTORY_PAGE,), _LOG, query.HistoryQuery, has_etag=True
        ),
        "POST": Operation(
            "event_publish",
            "events",
            (content.PUBLISHED,),
            _PUBLISH,
            ProducerHeaders,
            content.NEW_EVENTS,
        ),
    },
    events.EventSearchView: {
        "GET": Operation(
            "event_search", "events", (content.FOUND_PAGE,), (), query.SearchQuery, has_etag=True
        )
    },
    events.JobStreamView: {
        "GET": Operation("stream_state", "events", (content.STREAM_STATE,), _LOG)
    },
    export.JobEventExportView: {
        "GET": Operation("event_export", "events", _EXPORT, (*_LOG, "throttled"), query.ExportQuery)
    },
    live.JobEventPollView: {
        "GET": Operation("event_poll", "live", (content.POLLED_PAGE,), _LOG, query.PollQuery)
    },
    live.JobEventStreamView: {
        "GET": Operation("event_stream", "live", (content.SSE,), _STREAM, query.StreamQuery)
    },
    live.EventStreamView: {
        "GET": Operation(
            "events_stream", "live", (content.MULTIPLEXED_SSE,), _STREAM, query.MultiStreamQuery
        )
    },
}
