"""Schemas and examples of requests and responses."""

from importlib.resources import files
from typing import Any, Final, NamedTuple

import orjson
from rest_framework import exceptions, serializers

from events.exceptions import ProducerFenced
from events.live.frames import SSE_OPENING, sse_frame
from events.live.messages import Live
from events.transfer.export import CSV_HEADER, csv_rows
from events.transfer.ndjson import ndjson
from events.types import Event
from jobs.api import serializers as api
from jobs.api.problem_details import CONTENT_TYPE, TYPE_PREFIX, Problem, problem_body
from jobs.api.views.events import MAX_PUBLISHED_EVENTS
from jobs.models import Job

_EXAMPLES: Final[dict[str, Any]] = orjson.loads((files(__package__) / "examples.json").read_bytes())


class Content(NamedTuple):
    """A body: serializer or JSON schema, example, status of the response, media type."""

    schema: Any
    example: Any
    status: int = 200
    media_type: str = "application/json"


def _object(name: str, docstring: str, **fields: Any) -> type[serializers.Serializer[Any]]:
    return type(name, (serializers.Serializer,), {"__doc__": docstring, **fields})


def _text(help_text: str = "", **options: Any) -> serializers.CharField:
    return serializers.CharField(help_text=help_text, **options)


def _integer(help_text: str = "", **options: Any) -> serializers.IntegerField:
    return serializers.IntegerField(help_text=help_text, **options)


_FIELD_ERROR: Final = _object(
    "FieldError", "An error of a field, parameter or header.", field=_text(), detail=_text()
)
_PROBLEM_DETAILS: Final = _object(
    "ProblemDetails",
    "An error (RFC 9457); `type` identifies the problem.",
    type=_text(),
    title=_text(),
    status=_integer(min_value=400, max_value=599),
    detail=_text(),
    errors=_FIELD_ERROR(many=True, required=False),
    expected=_integer("out-of-order: the number of the next event.", required=False),
    first=_text("gone: the id of the first event that remains.", required=False),
    after=_text("gone: the cursor to resume from.", required=False),
)
_EVENT: Final = _object(
    "Event",
    "An event of a log.",
    id=_text("`<ms>-<seq>`, also the cursor after the event."),
    job_id=_text(),
    event_type=_text(),
    timestamp=_text("ISO 8601, as the producer wrote it."),
    data=serializers.DictField(help_text="The published event."),
)
_NEXT: Final = _text("URL of the next page.", allow_null=True)
_FOUND_PAGE: Final = _object(
    "FoundPage", "A page of search results.", results=_EVENT(many=True), next=_NEXT
)
_HISTORY: Final = {
    "results": _EVENT(many=True),
    "next": _NEXT,
    "cursor": _text("The position after the page."),
    "job_status": serializers.RegexField(f"^({'|'.join(Job.Status)})$"),
}
_HISTORY_PAGE: Final = _object("HistoryPage", "A page of the history of a job.", **_HISTORY)
_POLLED_PAGE: Final = _object(
    "PolledPage",
    "The response to a long-poll.",
    **_HISTORY,
    waits=serializers.BooleanField(
        help_text="Whether a waiting request occupies no worker of the server."
    ),
)
_JOB_PAGE: Final = _object(
    "JobPage",
    "A page of the list of jobs.",
    next=_NEXT,
    previous=_text("URL of the previous page.", allow_null=True),
    results=api.JobListSerializer(many=True),
)
_STREAM_STATE: Final = _object(
    "StreamState",
    "The state of the stream of a job.",
    job_id=_text(),
    length=_integer(min_value=0),
    first_id=_text(allow_null=True),
    last_id=_text(allow_null=True),
    archive_position=_text(allow_null=True),
)
_TICKET: Final = _object(
    "Ticket",
    "A signed ticket for the live events of a job.",
    ticket=_text(),
    expires_in=_integer("Seconds."),
)
_PUBLISHED: Final = _object(
    "Published",
    "The ids of the published events, in their order.",
    ids=serializers.ListField(child=_text()),
)
_QUESTIONS: Final = _object(
    "InputList", "The questions of a job.", results=api.InputRequestSerializer(many=True)
)
_STRING: Final = {"type": "string"}
_SSE_MESSAGE: Final = {
    "type": "object",
    "description": "A message; an event is unnamed, and its `id` is its cursor.",
    "properties": {"id": _STRING, "event": _STRING, "data": _STRING},
}
_COUNTS: Final = {
    "type": "object",
    "properties": {status: {"type": "integer", "minimum": 0} for status in Job.Status.values},
    "required": Job.Status.values,
    "additionalProperties": False,
}
_EVENT_TYPE: Final = {
    **_STRING,
    "pattern": "^[^\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]{1,128}$",
    "default": "unknown",
}
_TIMESTAMP: Final = {
    **_STRING,
    "format": "date-time",
    "description": "By default the time of the append, in UTC.",
}
_NEW_EVENT: Final = {
    "type": "object",
    "properties": {"event_type": _EVENT_TYPE, "timestamp": _TIMESTAMP},
    "additionalProperties": True,
}
_NEW_EVENTS: Final = {
    "type": "array",
    "items": _NEW_EVENT,
    "minItems": 1,
    "maxItems": MAX_PUBLISHED_EVENTS,
}


def _json(schema: Any, example: str, status: int = 200) -> Content:
    return Content(schema, _EXAMPLES[example], status)


NEW_JOB: Final = _json(api.JobCreateSerializer, "new_job")
CANCELLATION: Final = _json(api.JobCancelSerializer, "cancellation")
ANSWER: Final = _json(api.InputGiveSerializer, "answer")
NEW_EVENTS: Final = _json({"oneOf": [_NEW_EVENT, _NEW_EVENTS]}, "new_events")
JOB: Final = _json(api.JobSerializer, "job")
CREATED_JOB: Final = _json(api.JobSerializer, "job", 201)
JOB_PAGE: Final = _json(_JOB_PAGE, "job_page")
JOB_COUNTS: Final = _json(_COUNTS, "counts")
QUESTION: Final = _json(api.InputRequestSerializer, "question")
QUESTIONS: Final = _json(_QUESTIONS, "questions")
TICKET: Final = _json(_TICKET, "ticket", 201)
PUBLISHED: Final = _json(_PUBLISHED, "published", 201)
FOUND_PAGE: Final = _json(_FOUND_PAGE, "found_page")
HISTORY_PAGE: Final = _json(_HISTORY_PAGE, "history_page")
POLLED_PAGE: Final = _json(_POLLED_PAGE, "polled_page")
STREAM_STATE: Final = _json(_STREAM_STATE, "stream_state")


def _encoded(schema: Any, media_type: str, *parts: bytes) -> Content:
    return Content(schema, b"".join(parts).decode(), 200, media_type)


_ID: Final = "1795315967958-0"
_ONE: Final = Event(_ID, "job_001", "thought", "2026-11-22T02:52:47+00:00", b'{"text":"Hello"}')
_LIVE: Final = sse_frame(Live())
_LIVE_OF_JOB: Final = sse_frame(Live(), job_id="job_001")
_SSE: Final = _SSE_MESSAGE, "text/event-stream", SSE_OPENING
NDJSON: Final = _encoded(_STRING, "application/x-ndjson", ndjson([_ONE]))
CSV: Final = _encoded(_STRING, "text/csv", CSV_HEADER, csv_rows([_ONE]))
SSE: Final = _encoded(*_SSE, sse_frame(_ONE), _LIVE)
MULTIPLEXED_SSE: Final = _encoded(*_SSE, sse_frame(_ONE, event_id=f"{_ID},0"), _LIVE_OF_JOB)

_ERRORS: Final = (
    exceptions.ValidationError({"limit": ["Must be an integer from 1 to 1000. Given: 'x'."]}),
    exceptions.NotAuthenticated(),
    exceptions.PermissionDenied("Only the owner of this job may change it."),
    exceptions.NotFound("There is no job job_001."),
    exceptions.NotAcceptable(),
    exceptions.UnsupportedMediaType("text/plain"),
    exceptions.Throttled(7),
    Problem("stale-epoch", str(ProducerFenced.__doc__)),
    Problem("conflict", "There is a job job_001 already."),
    Problem("out-of-order", "The next event has the number 8. Given: 10.", expected=8),
    Problem("gone", f"The log begins at {_ID}.", first=_ID, after="1795315967957-0"),
    Problem("body-too-large", "The body is larger than 327680 bytes."),
    Problem("key-used", "This Idempotency-Key was sent with another request."),
    Problem("needs-asgi", "Live streaming needs an ASGI server."),
    Problem("unavailable", "The event log is unavailable: Redis does not answer."),
)
# The response of each problem type.
PROBLEMS: Final[dict[str, Content]] = {
    body["type"].removeprefix(TYPE_PREFIX): Content(
        _PROBLEM_DETAILS, body, body["status"], CONTENT_TYPE
    )
    for body in map(problem_body, _ERRORS)
}
