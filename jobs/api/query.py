"""Query parameters and request headers as serializers.

Each parameter is described once: name, syntax, default, limits, help text. The views validate
requests with these serializers; the OpenAPI schema is generated from them. Unknown parameters are
refused, because the response to a misspelt condition would be wrong.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from events.archive import MAX_CONDITIONS, EventFilter
from events.archive.terms import MAX_PATH_CHARS
from events.conf import event_settings
from events.database import column_time
from events.error_text import ErrorText
from events.history import SearchCursor
from events.live.replay import MAX_SPEED, MIN_SPEED
from events.producer.external import MAX_SEQUENCE
from events.translation import translated
from events.types import START, Cursor, check_job_id
from jobs.api.parameters import (
    ANY_TEXT,
    CURSOR,
    CURSORS,
    ONE_CURSOR,
    TIME,
    Kind,
    Parameter,
    choice,
    matching,
    number,
    text,
)
from jobs.api.serializers import field_name
from jobs.conf import job_settings
from jobs.models import Job
from jobs.selectors import users_named

MAX_PUBLISHED_EVENTS: Final = 1000
MAX_WAIT_SECONDS: Final = 30.0
MAX_JOB_LIMIT: Final = 200
LAST_EVENT_ID: Final = "Last-Event-ID"
# Sent by polyfills of EventSource, which cannot send the header to other origins.
LAST_EVENT_PARAMETER: Final = "lastEventId"
IDEMPOTENCY_KEY: Final = "Idempotency-Key"
PRODUCER_ID: Final = "Producer-Id"
PRODUCER_EPOCH: Final = "Producer-Epoch"
PRODUCER_SEQUENCE: Final = "Producer-Sequence"
PAGE_CURSOR: Final = ErrorText("a cursor from a link of the list of jobs")
# Whether the page precedes the time, the time in microseconds since 1970, and how many jobs of this
# time to skip.
PAGE_CURSOR_PATTERN: Final = r"(-?)([0-9]{0,17})\.([0-9]{1,3})"
JOB_ID: Final = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$", "example": "job_001"}
# Content negotiation and authentication read these parameters.
_IGNORED: Final = frozenset({"format", "ticket"})
_POSITION: Final = {"type": "string", "pattern": f"^{ONE_CURSOR}@[0-9]{{1,18}}$"}
_NAME: Final = matching(r"[\x21-\x7e]{1,200}", ErrorText("1 to 200 visible ASCII characters"))
_ORDER: Final = choice("asc", "desc")
_PAGE_LIMIT: Final = number(1, lambda: event_settings.PAGE_LIMIT)
_VALUES: Final = {"maxItems": MAX_CONDITIONS}
_AFTER: Final = "Only events after this position."
_LIMIT: Final = "Maximum number of events."
_RECONNECT: Final = "Overrides `after`. A browser sends it when it reconnects."
_POLYFILL: Final = f"The same as the header {LAST_EVENT_ID}, which overrides it."
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_ATTEMPT: Final = 2**31 - 1


def _subscriptions() -> Mapping[str, Any]:
    return {"minItems": 1, "maxItems": job_settings.MAX_SUBSCRIPTIONS, "uniqueItems": True}


class RequestParameters(serializers.Serializer[Any]):
    """The query parameters and headers of a request; the base class itself has none."""

    # Parameters with this prefix have no fields.
    prefix = ""

    @classmethod
    def read(cls, request: Request) -> dict[str, Any]:
        """Return the validated parameters by name. Raises ValidationError."""
        names = [name for name, field in cls.shared().fields.items() if field.header]
        headers = {name: request.headers[name] for name in names if name in request.headers}
        if headers.get(LAST_EVENT_ID) == "":  # no event was received yet
            del headers[LAST_EVENT_ID]
        return cls.validated(dict(request.query_params.lists()), headers)

    @classmethod
    def validated(
        cls, query: Mapping[str, Sequence[str]], headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Return the validated parameters by name. Raises ValidationError."""
        serializer, values = cls.shared(), dict[str, Any](headers or {})
        fields = {name: field for name, field in serializer.fields.items() if not field.header}
        for name, texts in query.items():
            field = fields.get(name)
            if field is None and name in _IGNORED:
                continue
            if field is None and not (cls.prefix and name.startswith(cls.prefix)):
                known = sorted([*fields, f"{cls.prefix}<path>"] if cls.prefix else fields)
                detail = _("Unknown parameter. Known parameters: %(names)s.")
                raise ValidationError({field_name(name): [detail % {"names": ", ".join(known)}]})
            is_array = field is not None and field.array is not None
            if len(texts) > 1 and not is_array:
                raise ValidationError({field_name(name): [_("Must occur only once.")]})
            values[name] = texts if is_array else texts[0]
        validated: dict[str, Any] = serializer.run_validation(values)
        return validated

    @classmethod
    @cache
    def shared(cls) -> Any:
        """Return the instance of all requests: its fields hold no state of a request."""
        return cls()

    def get_fields(self) -> dict[str, Any]:
        """Return the parameters, and the headers by their names in HTTP."""
        declared: dict[str, Any] = super().get_fields()
        return {field.header or name: field for name, field in declared.items()}


class EventConditions(RequestParameters):
    """Conditions on events; validated, an EventFilter and a window of cursors."""

    prefix = "data."

    event_type = Parameter(ANY_TEXT, "Only events of these types.", array=_VALUES)
    since = Parameter(TIME, "Only events appended at or after this time.")
    until = Parameter(TIME, "Only events appended before this time.")
    search = Parameter(
        ANY_TEXT,
        "Only events that contain all of these words; `word*` matches words with this prefix.",
    )

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Add `event_filter`; narrow `after` and `before`, both exclusive, to the times."""
        values: dict[str, Any] = super().to_internal_value(data)
        since, until = values["since"], values["until"]
        # An event of the very millisecond of `since` is included.
        starts = [values.get("after"), since and _cursor_at(since).previous()]
        ends = [values.get("before"), until and _cursor_at(until)]
        values["after"] = max(filter(None, starts), default=None)
        values["before"] = min(filter(None, ends), default=None)
        paths = [name.removeprefix(self.prefix) for name in data if name.startswith(self.prefix)]
        where = {path: data[self.prefix + path] for path in paths}
        try:
            event_filter = EventFilter.of(values["event_type"], values["search"] or "", where)
        except ValueError as error:
            wrong = (self.prefix + path for path in paths if not 0 < len(path) <= MAX_PATH_CHARS)
            raise ValidationError(
                {field_name(next(wrong, "search")): [translated(error)]}
            ) from error
        return {**values, "event_filter": event_filter}


def _cursor_at(moment: datetime) -> Cursor:
    milliseconds = math.ceil((moment - EPOCH) / timedelta(milliseconds=1))
    return Cursor(max(milliseconds, 0), 0)


class EventWindow(EventConditions):
    """Conditions on the events of one log."""

    after = Parameter(CURSOR, _AFTER)
    before = Parameter(CURSOR, "Only events before this position.")


class HistoryQuery(EventWindow):
    """A page of the history of a job."""

    order = Parameter(_ORDER, "Order of the events by id.", default="asc")
    limit = Parameter(_PAGE_LIMIT, _LIMIT, default=lambda: event_settings.PAGE_LIMIT)


class ExportQuery(EventWindow):
    """An export of the history of a job."""

    format = Parameter(choice("ndjson", "csv"), "Format of the file.", default="ndjson")


class PollQuery(RequestParameters):
    """A long-poll; validated, it has all parameters of a page of history."""

    after = Parameter(CURSOR, _AFTER)
    limit = Parameter(_PAGE_LIMIT, _LIMIT, default=lambda: event_settings.PAGE_LIMIT)
    wait = Parameter(
        number(0.0, MAX_WAIT_SECONDS), "Maximum number of seconds to wait.", default=0.0
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        fixed = {"before": None, "order": "asc", "event_filter": EventFilter(), "strict": True}
        return {**attrs, **fixed}


class ReplayQuery(RequestParameters):
    """Whether and how fast a log is replayed; validated, `speed` is None without a replay."""

    replay = Parameter(choice("1"), "Replay the log with the original time between its events.")
    speed = Parameter(
        number(MIN_SPEED, MAX_SPEED), "Divides the time between events; 1 if not given."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a speed without a replay."""
        if attrs["replay"] is None and attrs["speed"] is not None:
            raise ValidationError({"replay": [_("Must be 1 if speed is given.")]})
        speed = None if attrs["replay"] is None else attrs["speed"] or 1.0
        return {**attrs, "speed": speed}


class StreamQuery(ReplayQuery):
    """A stream of one job."""

    after = Parameter(CURSOR, _AFTER)
    last_event_id = Parameter(CURSOR, _RECONNECT, header=LAST_EVENT_ID)
    lastEventId = Parameter(CURSOR, _POLYFILL)  # noqa: N815 - the name is fixed

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Let the header override `after`."""
        attrs = super().validate(attrs)
        reconnect = attrs[LAST_EVENT_ID] or attrs[LAST_EVENT_PARAMETER]
        return {**attrs, "after": reconnect or attrs["after"] or START}


class MultiStreamQuery(RequestParameters):
    """A stream of several jobs; validated, `positions` has a cursor for each job id."""

    job = Parameter(
        Kind(check_job_id, JOB_ID),
        "Job ids.",
        array=_subscriptions,
        required=True,
        error_messages={"required": gettext_lazy("Name at least one job, such as ?job=a&job=b.")},
    )
    after = Parameter(
        CURSORS,
        "Only events after this position: one cursor for each job, in the order of the parameters"
        " `job`, separated by commas.",
    )
    last_event_id = Parameter(CURSORS, _RECONNECT, header=LAST_EVENT_ID)
    lastEventId = Parameter(CURSORS, _POLYFILL)  # noqa: N815 - the name is fixed

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a position with too few or too many cursors; let the header override `after`."""
        job_ids, positions = attrs["job"], [START] * len(attrs["job"])
        for name in ("after", LAST_EVENT_PARAMETER, LAST_EVENT_ID):
            positions = attrs[name] or positions
            if len(positions) != len(job_ids):
                text = _("Must have one cursor for each job. Jobs: %(jobs)d, cursors: %(cursors)d.")
                counts = {"jobs": len(job_ids), "cursors": len(positions)}
                raise ValidationError({name: [text % counts]})
        return {**attrs, "positions": dict(zip(job_ids, positions, strict=True))}


class JobConditions(RequestParameters):
    """Conditions on jobs; validated, `jobs` is the Q."""

    status = Parameter(choice(*Job.Status), "Only jobs with one of these statuses.", array=_VALUES)
    task_type = Parameter(text(1), "Only jobs of these task types.", array=_VALUES)
    owner = Parameter(text(1), "Only jobs of the users with these names.", array=_VALUES)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Add the conditions."""
        lookups = {
            "status__in": attrs["status"],
            "task_type__in": attrs["task_type"],
            "owner_id__in": attrs["owner"] and users_named(attrs["owner"]),
            "created_at__gte": attrs.get("created_after"),
            "created_at__lt": attrs.get("created_before"),
        }
        given = {
            lookup: column_time(value) if isinstance(value, datetime) else value
            for lookup, value in lookups.items()
            if value is not None
        }
        return {**attrs, "jobs": Q(**given)}


class JobCountsQuery(JobConditions):
    """The conditions of the list of jobs."""

    created_after = Parameter(TIME, "Only jobs created at or after this time.")
    created_before = Parameter(TIME, "Only jobs created before this time.")
    search = Parameter(
        text(),
        "Only jobs with all these words, or words that start with them, in title, job_id or"
        " task_type.",
    )


class JobListQuery(JobCountsQuery):
    """A page of the list of jobs."""

    ordering = Parameter(
        choice("-created_at", "created_at", "-finished_at", "finished_at"),
        "Order of the jobs.",
        default="-created_at",
    )
    limit = Parameter(number(1, MAX_JOB_LIMIT), "Maximum number of jobs.", default=50)
    cursor = Parameter(matching(PAGE_CURSOR_PATTERN, PAGE_CURSOR), "From `next` or `previous`.")


class StatisticsQuery(RequestParameters):
    """Figures of a range of time."""

    range = Parameter(choice("1h", "24h", "7d"), "The last hour, day or week.", default="1h")
    task_type = Parameter(text(1), "Only figures of this task type, where they are by type.")


class SearchQuery(JobConditions, EventConditions):
    """A page of the search in the logs of all visible jobs."""

    order = Parameter(_ORDER, "Order of the events by time.", default="desc")
    limit = Parameter(_PAGE_LIMIT, _LIMIT, default=100)
    cursor = Parameter(Kind(SearchCursor.parse, _POSITION), "From `next`.")


class IdempotencyHeaders(RequestParameters):
    """The header of a request that may be repeated."""

    key = Parameter(_NAME, "Identifies a request that may be repeated.", header=IDEMPOTENCY_KEY)


class ProducerHeaders(IdempotencyHeaders):
    """The headers of a publish request that may be repeated."""

    producer = Parameter(
        _NAME, f"Identifies a producer. Requires {PRODUCER_SEQUENCE}.", header=PRODUCER_ID
    )
    sequence = Parameter(
        number(1, MAX_SEQUENCE), "Number of the first event.", header=PRODUCER_SEQUENCE
    )
    epoch = Parameter(
        number(0, _MAX_ATTEMPT), "Attempt of the job.", default=0, header=PRODUCER_EPOCH
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a key together with a producer, and a producer without a sequence."""
        key, name, sequence = map(attrs.get, (IDEMPOTENCY_KEY, PRODUCER_ID, PRODUCER_SEQUENCE))
        if key is not None and name is not None:
            text = _("Must not be sent with %(name)s.") % {"name": IDEMPOTENCY_KEY}
            raise ValidationError({PRODUCER_ID: [text]})
        required = _("Required with %(name)s.")
        if name is None and sequence is not None:
            raise ValidationError({PRODUCER_ID: [required % {"name": PRODUCER_SEQUENCE}]})
        if name is not None and sequence is None:
            raise ValidationError({PRODUCER_SEQUENCE: [required % {"name": PRODUCER_ID}]})
        return attrs
