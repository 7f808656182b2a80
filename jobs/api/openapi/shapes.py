"""What the API takes and answers, for its schema alone: nothing is read or written by these."""

from http import HTTPStatus
from typing import Any, Final

import orjson
from rest_framework import serializers

from events.archive.filters import MAX_CONDITIONS
from events.codec import event_json
from events.exceptions import ProducerFenced
from events.live.frames import SSE_OPENING, sse_frame
from events.live.messages import Live
from events.transfer.export import CSV_HEADER, csv_rows
from events.transfer.ndjson import ndjson
from events.types import Event
from jobs.access.tickets import SECONDS
from jobs.api.problem_details import TYPE
from jobs.api.producer_headers import NAME
from jobs.api.serializers import InputRequestSerializer, JobListSerializer
from jobs.models import Job

JSON: Final = "application/json"
JOB_ID: Final = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$", "example": "job_001"}
CURSOR: Final = {
    "type": "string",
    "pattern": "^(0|[0-9]{1,20}-[0-9]{1,20})$",
    "example": "1795315967958-0",
}
TEXT: Final = {"type": "string", "maxLength": 200, "pattern": "^[^\\x00]*$"}
TIME: Final = {"type": "string", "format": "date-time"}
A_NAME: Final = {**TEXT, "minLength": 1}
KEY: Final = {"type": "string", "pattern": f"^{NAME}$"}
LINK: Final = {"type": "string", "pattern": "^[A-Za-z0-9+/=]+$"}
PLACE: Final = {"type": "string", "pattern": "^[0-9]{1,20}-[0-9]{1,20}@[0-9]{1,18}$"}
_ONE: Final = "(0|[0-9]{1,20}-[0-9]{1,20})"
POSITIONS: Final = {"type": "string", "pattern": f"^{_ONE}(,{_ONE})*$"}
_EVENT_TYPE: Final = "^[^\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]{1,128}$"


def a_number(least: float, most: float, default: float | None = None) -> dict[str, Any]:
    """A number of a parameter, whole if its bounds are."""
    kind = "integer" if isinstance(least, int) else "number"
    bounds = {"type": kind, "minimum": least, "maximum": most}
    return bounds if default is None else {**bounds, "default": default}


def one_of(*values: str, default: str | None = None) -> dict[str, Any]:
    """One of a few words."""
    words: dict[str, Any] = {"type": "string", "enum": list(values)}
    return words if default is None else {**words, "default": default}


def several(schema: dict[str, Any], most: int = MAX_CONDITIONS) -> dict[str, Any]:
    """A parameter that may come several times."""
    return {"type": "array", "items": schema, "maxItems": most}


class FieldError(serializers.Serializer[Any]):
    """What is wrong with one field, parameter or header."""

    field = serializers.CharField()
    detail = serializers.CharField()


class ProblemDetails(serializers.Serializer[Any]):
    """An error, as RFC 9457 has it; a program goes by `type`."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField(min_value=400, max_value=599)
    detail = serializers.CharField()
    errors = FieldError(many=True, required=False)  # type: ignore[assignment]
    expected = serializers.IntegerField(
        required=False, help_text="With out-of-order: the number of the event that comes next."
    )
    first = serializers.CharField(
        required=False, help_text="With gone: the id of the first event that is left."
    )
    after = serializers.CharField(
        required=False, help_text="With gone: the cursor from which to read on."
    )


class EventShape(serializers.Serializer[Any]):
    """An entry of a job's log."""

    id = serializers.CharField(help_text="`<ms>-<seq>`: the position of the event, and its cursor.")
    job_id = serializers.CharField()
    event_type = serializers.CharField()
    timestamp = serializers.CharField(help_text="ISO 8601, as its producer gave it.")
    data = serializers.DictField(  # type: ignore[assignment]
        help_text="The event as it was published."
    )

    class Meta:
        ref_name = "Event"


class HistoryPage(serializers.Serializer[Any]):
    """A page of a job's log."""

    results = EventShape(many=True)
    next = serializers.CharField(allow_null=True, help_text="The address of the next page.")
    cursor = serializers.CharField(help_text="The position after the page.")
    job_status = serializers.RegexField(f"^({'|'.join(Job.Status)})$")


class PolledPage(HistoryPage):
    """What follows a cursor."""

    waits = serializers.BooleanField(help_text="Whether waiting keeps no worker of the server's.")


class FoundPage(serializers.Serializer[Any]):
    """A page of what was found in the logs of several jobs."""

    results = EventShape(many=True)
    next = serializers.CharField(allow_null=True, help_text="The address of the next page.")


class JobPage(serializers.Serializer[Any]):
    """A page of the list of jobs."""

    next = serializers.CharField(allow_null=True, help_text="The address of the next page.")
    previous = serializers.CharField(allow_null=True)
    results = JobListSerializer(many=True)


class Published(serializers.Serializer[Any]):
    """The ids of the events that are in the log now, in their order."""

    ids = serializers.ListField(child=serializers.CharField())


class Ticket(serializers.Serializer[Any]):
    """The right to watch a job, for a while."""

    ticket = serializers.CharField()
    expires_in = serializers.IntegerField(help_text="In seconds.")


class InputList(serializers.Serializer[Any]):
    """What a job has asked."""

    results = InputRequestSerializer(many=True)


class StreamState(serializers.Serializer[Any]):
    """The state of a job's stream."""

    job_id = serializers.CharField()
    length = serializers.IntegerField(min_value=0)
    first_id = serializers.CharField(allow_null=True)
    last_id = serializers.CharField(allow_null=True)
    archive_position = serializers.CharField(allow_null=True)


SENT: Final = {
    "type": "object",
    "description": "A message, as it is sent: an event has its cursor as `id`, and no name.",
    "properties": {each: {"type": "string"} for each in ("id", "event", "data")},
}
COUNTS: Final = {
    "type": "object",
    "properties": {str(each): {"type": "integer", "minimum": 0} for each in Job.Status},
    "required": [str(each) for each in Job.Status],
    "additionalProperties": False,
}
NEW_JOB: Final = {
    "type": "object",
    "properties": {
        "task_type": {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,100}$"},
        "title": TEXT,
        "job_id": JOB_ID,
        "payload": {"type": "object", "description": "The arguments of its runner."},
    },
    "required": ["task_type"],
    "additionalProperties": False,
}
CANCELLATION: Final = {
    "type": "object",
    "properties": {
        "terminate": {
            "type": "boolean",
            "default": False,
            "description": "Have the queue end the job's tasks where they stand, if it can.",
        },
    },
    "additionalProperties": False,
}
ANSWER: Final = {
    "type": "object",
    "properties": {
        "name": {**JOB_ID, "description": "Which question it answers."},
        "value": {"description": "Any JSON; one of the choices, if there are any."},
    },
    "required": ["name", "value"],
    "additionalProperties": False,
}
_NEW_EVENT: Final = {
    "type": "object",
    "properties": {
        "event_type": {"type": "string", "pattern": _EVENT_TYPE, "default": "unknown"},
        "timestamp": {**TIME, "description": "By default the time of the append, in UTC."},
    },
    "additionalProperties": True,
}
NEW_EVENTS: Final = {
    "oneOf": [
        _NEW_EVENT,
        {"type": "array", "items": _NEW_EVENT, "minItems": 1, "maxItems": 1000},
    ]
}

_EVENT: Final = Event(
    id="1795315967958-0",
    job_id="job_001",
    event_type="thought",
    timestamp="2026-11-22T02:52:47.954814+00:00",
    raw=b'{"event_type":"thought","timestamp":"2026-11-22T02:52:47.954814+00:00",'
    b'"text":"So far so good"}',
)
AN_EVENT: Final = orjson.loads(event_json(_EVENT))
A_LINE: Final = ndjson([_EVENT]).decode()
SOME_CSV: Final = (CSV_HEADER + csv_rows([_EVENT])).decode()
SOME_FRAMES: Final = b"".join([SSE_OPENING, sse_frame(_EVENT), sse_frame(Live())]).decode()
SOME_FRAMES_OF_MANY: Final = b"".join(
    [
        SSE_OPENING,
        sse_frame(_EVENT, event_id="1795315967958-0,0"),
        sse_frame(Live(), job_id="job_001"),
    ]
).decode()
A_LISTED_JOB: Final = {
    "job_id": "job_001",
    "task_type": "report",
    "title": "The year's report",
    "status": "running",
    "attempt": 1,
    "progress": 40.0,
    "owner": "anna",
    "error": "",
    "created_at": "2026-11-22T02:52:40Z",
    "started_at": "2026-11-22T02:52:41Z",
    "finished_at": None,
}
A_JOB: Final = {**A_LISTED_JOB, "payload": {"year": 2026}, "result": None}
A_QUESTION: Final = {
    "name": "approve",
    "attempt": 1,
    "prompt": "Shall it be sent?",
    "choices": ["yes", "no"],
    "asked_at": "2026-11-22T02:52:47Z",
    "answered_at": "2026-11-22T02:53:10Z",
    "answered_by": "anna",
    "value": "yes",
}
A_JOB_PAGE: Final = {"next": None, "previous": None, "results": [A_LISTED_JOB]}
SOME_COUNTS: Final = {"pending": 0, "running": 1, "completed": 12, "failed": 2, "cancelled": 0}
A_TICKET: Final = {"ticket": "MToxdHQ…", "expires_in": SECONDS}
A_HISTORY_PAGE: Final = {
    "results": [AN_EVENT],
    "next": None,
    "cursor": AN_EVENT["id"],
    "job_status": "running",
}
A_FOUND_PAGE: Final = {"results": [AN_EVENT], "next": None}
A_STATE: Final = {
    "job_id": "job_001",
    "length": 1,
    "first_id": AN_EVENT["id"],
    "last_id": AN_EVENT["id"],
    "archive_position": AN_EVENT["id"],
}


def _problem(type_: str, status: HTTPStatus, detail: str, **members: Any) -> dict[str, Any]:
    told = {"type": TYPE + type_, "title": status.phrase, "status": int(status)}
    return {**told, "detail": detail, **members}


_LIMIT: Final = "It is a number from 1 to 1000. Given: 'x'."
PROBLEMS: Final[dict[str, dict[str, Any]]] = {
    problem["type"].removeprefix(TYPE): problem
    for problem in (
        _problem(
            "invalid",
            HTTPStatus.BAD_REQUEST,
            f"limit: {_LIMIT}",
            errors=[{"field": "limit", "detail": _LIMIT}],
        ),
        _problem(
            "not-authenticated",
            HTTPStatus.UNAUTHORIZED,
            "Authentication credentials were not provided.",
        ),
        _problem(
            "permission-denied",
            HTTPStatus.FORBIDDEN,
            "To publish events takes the permission job_events_jobs.publish_events.",
        ),
        _problem("stale-epoch", HTTPStatus.FORBIDDEN, str(ProducerFenced.__doc__)),
        _problem("not-found", HTTPStatus.NOT_FOUND, "There is no job job_001."),
        _problem(
            "not-acceptable",
            HTTPStatus.NOT_ACCEPTABLE,
            "Could not satisfy the request Accept header.",
        ),
        _problem("conflict", HTTPStatus.CONFLICT, "There is a job job_001 already."),
        _problem(
            "out-of-order",
            HTTPStatus.CONFLICT,
            "The producer's next event is number 8. Given: 10.",
            expected=8,
        ),
        _problem(
            "gone",
            HTTPStatus.GONE,
            "The log begins at 1795315967958-0.",
            first="1795315967958-0",
            after="1795315967957-18446744073709551615",
        ),
        _problem(
            "body-too-large",
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "The body is larger than 327680 bytes.",
        ),
        _problem(
            "unsupported-media-type",
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            'Unsupported media type "text/plain" in request.',
        ),
        _problem(
            "key-used",
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "This Idempotency-Key came with another request, for job job_001.",
        ),
        _problem(
            "throttled",
            HTTPStatus.TOO_MANY_REQUESTS,
            "Request was throttled. Expected available in 7 seconds.",
        ),
        _problem(
            "needs-asgi",
            HTTPStatus.NOT_IMPLEMENTED,
            "Live streaming needs an ASGI server; this one runs under WSGI.",
        ),
        _problem(
            "unavailable",
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The event log cannot be read now: Redis does not answer.",
        ),
    )
}
