"""The operations of the API: ids, parameters, bodies, responses and problem types."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from rest_framework.views import APIView

from jobs.api import query
from jobs.api import serializers as bodies
from jobs.api.openapi import responses
from jobs.api.producer_headers import IdempotencyHeaders, ProducerHeaders
from jobs.api.query import RequestParameters
from jobs.api.views import events, export, inputs, jobs, live

_EVERY_OPERATION: Final = ("invalid", "not-authenticated", "permission-denied", "not-acceptable")
_BODY: Final = ("unsupported-media-type", "body-too-large")
_JOB: Final = ("not-found",)
_CREATE: Final = ("conflict", "key-used", "unavailable")
_CHANGE: Final = ("not-found", "conflict", "unavailable")
_LOG: Final = (*_CHANGE, "gone")
_EXPORT: Final = (*_LOG, "throttled")
_PUBLISH: Final = (*_CHANGE, "out-of-order", "stale-epoch", "key-used", "throttled")
_STREAM: Final = (*_LOG, "throttled", "needs-asgi")
_Job: Final = bodies.JobSerializer
_Input: Final = bodies.InputRequestSerializer
_NEW_EVENTS: Final = responses.NEW_EVENTS


class Operation(NamedTuple):
    """What the schema contains beside the path, and the docstring of the method.

    `result` and `body` are serializers or JSON schemas.
    """

    id: str
    tag: str
    result: Any
    problems: tuple[str, ...] = ()
    parameters: type[RequestParameters] = RequestParameters
    body: Any = None

    @property
    def problem_types(self) -> tuple[str, ...]:
        """The problem types, with those of every operation."""
        return (*_EVERY_OPERATION, *(_BODY if self.body else ()), *self.problems)


# What differs from one response of status 200, in JSON, without an ETag.
STATUSES: Final = {"job_create": (201, 200), "job_ticket": (201,), "event_publish": (201,)}
MEDIA_TYPES: Final = {
    "event_export": ("application/x-ndjson", "text/csv"),
    "event_stream": ("text/event-stream",),
    "events_stream": ("text/event-stream",),
}
WITH_ETAG: Final = {"job_list", "job_counts", "job_retrieve", "event_list", "event_search"}

OPERATIONS: Final[Mapping[type[APIView], Mapping[str, Operation]]] = {
    jobs.JobListView: {
        "GET": Operation("job_list", "jobs", responses.JobPage, (), query.JobListQuery),
        "POST": Operation(
            "job_create", "jobs", _Job, _CREATE, IdempotencyHeaders, bodies.JobCreateSerializer
        ),
    },
    jobs.JobCountsView: {
        "GET": Operation("job_counts", "jobs", responses.JOB_COUNTS, (), query.JobCountsQuery)
    },
    jobs.JobDetailView: {"GET": Operation("job_retrieve", "jobs", _Job, _JOB)},
    jobs.JobCancelView: {
        "POST": Operation("job_cancel", "jobs", _Job, _CHANGE, body=bodies.JobCancelSerializer)
    },
    jobs.JobRetryView: {"POST": Operation("job_retry", "jobs", _Job, _CHANGE)},
    jobs.JobTicketView: {"POST": Operation("job_ticket", "live", responses.Ticket, _JOB)},
    inputs.JobInputsView: {
        "GET": Operation("input_list", "jobs", responses.InputList, _JOB),
        "POST": Operation("input_give", "jobs", _Input, _CHANGE, body=bodies.InputGiveSerializer),
    },
    events.JobEventsView: {
        "GET": Operation("event_list", "events", responses.HistoryPage, _LOG, query.HistoryQuery),
        "POST": Operation(
            "event_publish", "events", responses.Published, _PUBLISH, ProducerHeaders, _NEW_EVENTS
        ),
    },
    events.EventSearchView: {
        "GET": Operation("event_search", "events", responses.FoundPage, (), query.SearchQuery)
    },
    events.JobStreamView: {"GET": Operation("stream_state", "events", responses.StreamState, _LOG)},
    export.JobEventExportView: {
        "GET": Operation("event_export", "events", responses.TEXT, _EXPORT, query.ExportQuery)
    },
    live.JobEventPollView: {
        "GET": Operation("event_poll", "live", responses.PolledPage, _LOG, query.PollQuery)
    },
    live.JobEventStreamView: {
        "GET": Operation("event_stream", "live", responses.SSE_MESSAGE, _STREAM, query.StreamQuery)
    },
    live.EventStreamView: {
        "GET": Operation(
            "events_stream", "live", responses.SSE_MESSAGE, _STREAM, query.MultiStreamQuery
        )
    },
}
