"""Serializers and JSON schemas of responses, for the schema only."""

from typing import Any, Final

from rest_framework import serializers

from jobs.api.query import MAX_PUBLISHED_EVENTS
from jobs.api.serializers import InputRequestSerializer, JobListSerializer
from jobs.models import Job


def _object(name: str, docstring: str, **fields: Any) -> type[serializers.Serializer[Any]]:
    return type(name, (serializers.Serializer,), {"__doc__": docstring, **fields})


def _text(help_text: str = "", **options: Any) -> serializers.CharField:
    return serializers.CharField(help_text=help_text, **options)


def _integer(help_text: str = "", **options: Any) -> serializers.IntegerField:
    return serializers.IntegerField(help_text=help_text, **options)


FieldError: Final = _object(
    "FieldError", "An error of a field, parameter or header.", field=_text(), detail=_text()
)
ProblemDetails: Final = _object(
    "ProblemDetails",
    "An error (RFC 9457); `type` identifies the problem.",
    type=_text(),
    title=_text(),
    status=_integer(min_value=400, max_value=599),
    detail=_text(),
    errors=FieldError(many=True, required=False),
    expected=_integer("out-of-order: the number of the next event.", required=False),
    first=_text("gone: the id of the first event that remains.", required=False),
    after=_text("gone: the cursor to resume from.", required=False),
)
Event: Final = _object(
    "Event",
    "An event of a log.",
    id=_text("`<ms>-<seq>`, also the cursor after the event."),
    job_id=_text(),
    event_type=_text(),
    timestamp=_text("ISO 8601, as the producer wrote it."),
    data=serializers.DictField(help_text="The published event."),
)
_NEXT: Final = _text("URL of the next page.", allow_null=True)
FoundPage: Final = _object(
    "FoundPage", "A page of search results.", results=Event(many=True), next=_NEXT
)
_HISTORY: Final = {
    "results": Event(many=True),
    "next": _NEXT,
    "cursor": _text("The position after the page."),
    "job_status": serializers.RegexField(f"^({'|'.join(Job.Status)})$"),
}
HistoryPage: Final = _object("HistoryPage", "A page of the history of a job.", **_HISTORY)
PolledPage: Final = _object(
    "PolledPage",
    "The response to a long-poll.",
    **_HISTORY,
    waits=serializers.BooleanField(
        help_text="Whether a waiting request occupies no worker of the server."
    ),
)
JobPage: Final = _object(
    "JobPage",
    "A page of the list of jobs.",
    next=_NEXT,
    previous=_text("URL of the previous page.", allow_null=True),
    results=JobListSerializer(many=True),
)
StreamState: Final = _object(
    "StreamState",
    "The state of the stream of a job.",
    job_id=_text(),
    length=_integer(min_value=0),
    first_id=_text(allow_null=True),
    last_id=_text(allow_null=True),
    archive_position=_text(allow_null=True),
)
Ticket: Final = _object(
    "Ticket",
    "A signed ticket for the live events of a job.",
    ticket=_text(),
    expires_in=_integer("Seconds."),
)
Published: Final = _object(
    "Published",
    "The ids of the published events, in their order.",
    ids=serializers.ListField(child=_text()),
)
InputList: Final = _object(
    "InputList", "The questions of a job.", results=InputRequestSerializer(many=True)
)
TEXT: Final = {"type": "string"}
SSE_MESSAGE: Final = {
    "type": "object",
    "description": "A message; an event is unnamed, and its `id` is its cursor.",
    "properties": {"id": TEXT, "event": TEXT, "data": TEXT},
}
JOB_COUNTS: Final = {
    "type": "object",
    "properties": {status: {"type": "integer", "minimum": 0} for status in Job.Status.values},
    "required": Job.Status.values,
    "additionalProperties": False,
}
_EVENT_TYPE: Final = {
    **TEXT,
    "pattern": "^[^\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]{1,128}$",
    "default": "unknown",
}
_TIMESTAMP: Final = {
    **TEXT,
    "format": "date-time",
    "description": "By default the time of the append, in UTC.",
}
_NEW_EVENT: Final = {
    "type": "object",
    "properties": {"event_type": _EVENT_TYPE, "timestamp": _TIMESTAMP},
    "additionalProperties": True,
}
NEW_EVENTS: Final = {
    "oneOf": [
        _NEW_EVENT,
        {"type": "array", "items": _NEW_EVENT, "minItems": 1, "maxItems": MAX_PUBLISHED_EVENTS},
    ]
}
