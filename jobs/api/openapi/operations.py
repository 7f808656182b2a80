"""The operations of the API: ids, responses, problem types, parameters and bodies."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from rest_framework.serializers import (
    BooleanField,
    CharField,
    DictField,
    IntegerField,
    ListField,
    RegexField,
    Serializer,
)

from jobs.api import query
from jobs.api import serializers as bodies
from jobs.api.statistics_serializers import StatisticsSerializer
from jobs.api.views import events, jobs, live, statistics
from jobs.models import Job


class Operation(NamedTuple):
    """What the schema contains beside the path, and the docstring of the method.

    `result` and `body` are serializers or JSON schemas. Without a `result`, MEDIA_TYPES has the
    response; without an entry there, it has no body.
    """

    id: str
    result: Any
    problems: tuple[str, ...] = ()
    parameters: type[query.RequestParameters] = query.RequestParameters
    body: Any = None


def _object(name: str, **fields: Any) -> type[Serializer[Any]]:
    return type(name, (Serializer,), fields)


_Job: Final = bodies.JobSerializer
_FieldError: Final = _object("FieldError", field=CharField(), detail=CharField())
ProblemDetails: Final = _object(
    "ProblemDetails",
    type=CharField(help_text="Identifies the problem."),
    title=CharField(),
    status=IntegerField(min_value=400, max_value=599),
    detail=CharField(),
    errors=_FieldError(many=True, required=False),
    expected=IntegerField(help_text="out-of-order: the number of the next event.", required=False),
    first=CharField(help_text="gone: the id of the first event that remains.", required=False),
    after=CharField(help_text="gone: the cursor to resume from.", required=False),
)
_Event: Final = _object(
    "Event",
    id=CharField(help_text="`<ms>-<seq>`, also the cursor after the event."),
    job_id=CharField(),
    event_type=CharField(),
    timestamp=CharField(help_text="ISO 8601, as the producer wrote it."),
    data=DictField(help_text="The published event."),
)
_NEXT: Final = CharField(help_text="URL of the next page.", allow_null=True)
_PREVIOUS: Final = CharField(help_text="URL of the previous page.", allow_null=True)
_HISTORY: Final = {
    "results": _Event(many=True),
    "next": _NEXT,
    "cursor": CharField(help_text="The position after the page."),
    "job_status": RegexField(f"^({'|'.join(Job.Status)})$"),
}
_WAITS: Final = BooleanField(
    help_text="Whether a waiting request occupies no worker of the server."
)
_FoundPage: Final = _object("FoundPage", results=_Event(many=True), next=_NEXT)
_HistoryPage: Final = _object("HistoryPage", **_HISTORY)
_END: Final = BooleanField(
    help_text="Whether the job is finished and has no events after the page. Poll until it is true."
)
_PolledPage: Final = _object("PolledPage", **_HISTORY, end=_END, waits=_WAITS)
_Jobs: Final = bodies.JobListSerializer(many=True)
_JobPage: Final = _object("JobPage", next=_NEXT, previous=_PREVIOUS, results=_Jobs)
_StreamState: Final = _object(
    "StreamState",
    job_id=CharField(),
    length=IntegerField(min_value=0),
    first_id=CharField(allow_null=True),
    last_id=CharField(allow_null=True),
    archive_position=CharField(allow_null=True),
)
_Ticket: Final = _object(
    "Ticket", ticket=CharField(), expires_in=IntegerField(help_text="Seconds for the first use.")
)
_Published: Final = _object("Published", ids=ListField(child=CharField()))
_JobCounts: Final = _object(
    "JobCounts", **{status: IntegerField(min_value=0) for status in Job.Status.values}
)
_InputList: Final = _object("InputList", results=bodies.InputRequestSerializer(many=True))
_TEXT: Final = {"type": "string"}
_FILE: Final = {**_TEXT, "format": "binary"}
_SSE_MESSAGE: Final = {
    "type": "object",
    "description": "A message. That of an event is unnamed, and its `id` is the cursor.",
    "properties": {"id": _TEXT, "event": _TEXT, "data": _TEXT},
}
_EVENT_TYPE: Final = {
    **_TEXT,
    "pattern": "^[^\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]{1,128}$",
    "default": "unknown",
}
_TIME: Final = {"format": "date-time", "description": "By default the time of the append, in UTC."}
# A component: generators give it one name. Without `additionalProperties`, some drop other keys.
NEW_EVENT: Final = {
    "type": "object",
    "description": "An event: any keys beside these.",
    "properties": {"event_type": _EVENT_TYPE, "timestamp": {**_TEXT, **_TIME}},
    "additionalProperties": {},
}
_NEW: Final = {"$ref": "#/components/schemas/NewEvent"}
_MANY: Final = {"minItems": 1, "maxItems": query.MAX_PUBLISHED_EVENTS}
NEW_EVENTS: Final = {"oneOf": [_NEW, {"type": "array", "items": _NEW, **_MANY}]}

COMMON_PROBLEMS: Final = (
    "invalid", "not-authenticated", "permission-denied", "not-acceptable", "unavailable",
)  # fmt: skip
BODY_PROBLEMS: Final = ("unsupported-media-type", "body-too-large")
_JOB: Final = ("not-found",)
_CREATE: Final = ("conflict", "key-used")
_CHANGE: Final = ("not-found", "conflict")
_LOG: Final = (*_CHANGE, "gone")
_EXPORT: Final = (*_LOG, "throttled")
_PUBLISH: Final = (*_CHANGE, "out-of-order", "stale-epoch", "key-used", "throttled")
_STREAM: Final = (*_LOG, "throttled", "needs-asgi")

# By the method that handles the request.
OPERATIONS: Final[Mapping[Callable[..., Any], Operation]] = {
    jobs.JobListView.get: Operation("job_list", _JobPage, (), query.JobListQuery),
    jobs.JobListView.post: Operation(
        "job_create", _Job, _CREATE, query.IdempotencyHeaders, bodies.JobCreateSerializer
    ),
    jobs.JobCountsView.get: Operation("job_counts", _JobCounts, (), query.JobCountsQuery),
    jobs.JobDetailView.get: Operation("job_retrieve", _Job, _JOB),
    jobs.JobDetailView.delete: Operation("job_delete", None, ("not-found", "unavailable")),
    jobs.JobCancelView.post: Operation(
        "job_cancel", _Job, _CHANGE, body=bodies.JobCancelSerializer
    ),
    jobs.JobRetryView.post: Operation("job_retry", _Job, _CHANGE, body=bodies.JobRetrySerializer),
    jobs.JobInputsView.get: Operation("input_list", _InputList, _JOB),
    jobs.JobInputsView.post: Operation(
        "input_give", bodies.InputRequestSerializer, _CHANGE, body=bodies.InputGiveSerializer
    ),
    events.JobEventsView.get: Operation("event_list", _HistoryPage, _LOG, query.HistoryQuery),
    events.JobEventsView.post: Operation(
        "event_publish", _Published, _PUBLISH, query.ProducerHeaders, NEW_EVENTS
    ),
    events.EventSearchView.get: Operation("event_search", _FoundPage, (), query.SearchQuery),
    events.JobStreamView.get: Operation("stream_state", _StreamState, _LOG),
    events.JobEventExportView.get: Operation("event_export", None, _EXPORT, query.ExportQuery),
    statistics.StatisticsView.get: Operation(
        "statistics", StatisticsSerializer, (), query.StatisticsQuery
    ),
    live.JobEventPollView.get: Operation("event_poll", _PolledPage, _LOG, query.PollQuery),
    live.JobEventStreamView.get: Operation("event_stream", None, _STREAM, query.StreamQuery),
    live.EventStreamView.get: Operation("events_stream", None, _STREAM, query.MultiStreamQuery),
    live.JobTicketView.post: Operation("job_ticket", _Ticket, _JOB),
}
# What differs from one response of status 200, in JSON, without an ETag; by operation id.
STATUSES: Final = {"job_create": (201, 200), "job_ticket": (201,), "event_publish": (201,)}
# Generated clients return what the first media type describes. That of OpenAPI Generator for Python
# reads text only as text/*. The schema of a stream describes each message.
_MESSAGES: Final = {"text/*": _TEXT, "text/event-stream": _SSE_MESSAGE}
MEDIA_TYPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "event_export": {"application/x-ndjson": _FILE, "text/csv": _TEXT},
    "event_stream": _MESSAGES,
    "events_stream": _MESSAGES,
}
WITH_ETAG: Final = {
    "job_list",
    "job_counts",
    "job_retrieve",
    "event_list",
    "event_search",
    "statistics",
}
