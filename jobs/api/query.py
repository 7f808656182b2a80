"""Query parameters and request headers as serializers.

Each parameter is described once: name, syntax, default, limits, help text. The views validate
requests with these serializers; the OpenAPI schema is generated from them. Unknown parameters are
refused, because the response to a misspelt condition would be wrong.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, ClassVar, Final, Self

from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from events.archive import MAX_CONDITIONS, EventFilter
from events.conf import event_settings
from events.history import SearchCursor
from events.live.replay import MAX_SPEED, MIN_SPEED
from events.types import START, Cursor, check_job_id
from jobs.api.parameters import (
    Parameter,
    Schema,
    choice,
    cursor,
    cursors,
    matching,
    number,
    text,
    time,
)
from jobs.api.serializers import field_name
from jobs.conf import job_settings
from jobs.models import Job

MAX_PUBLISHED_EVENTS: Final = 1000
MAX_WAIT_SECONDS: Final = 30.0
MAX_JOB_LIMIT: Final = 200
JOB_ORDERS: Final = ("-created_at", "created_at", "-finished_at", "finished_at")
LAST_EVENT_ID: Final = "Last-Event-ID"
PAGE_CURSOR: Final = "a cursor from a link of the list of jobs"
JOB_ID: Final = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$", "example": "job_001"}
_POSITION: Final = {"type": "string", "pattern": "^[0-9]{1,20}-[0-9]{1,20}@[0-9]{1,18}$"}
_VALUES: Final = {"maxItems": MAX_CONDITIONS}
_AFTER: Final = "Only events after this position."
_RECONNECT: Final = "Overrides `after`. A browser sends it when it reconnects."
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _page_limit(default: int | None = None) -> Parameter:
    def upper() -> int:
        return event_settings.PAGE_LIMIT

    return number(1, upper, "Maximum number of events.", default=default or upper)


def _subscriptions() -> Schema:
    return {"minItems": 1, "maxItems": job_settings.MAX_SUBSCRIPTIONS, "uniqueItems": True}


class RequestParameters(serializers.Serializer[Any]):
    """The query parameters and headers of a request; the base class itself has none."""

    headers: ClassVar[Mapping[str, Parameter]] = {}
    # Parameters that content negotiation and authentication read.
    ignored: ClassVar[frozenset[str]] = frozenset({"format"})
    # Parameters with this prefix have no fields.
    prefix = ""

    @classmethod
    def read(cls, request: Request) -> dict[str, Any]:
        """Return the validated parameters by name. Raises ValidationError."""
        headers = {name: request.headers[name] for name in cls.headers if name in request.headers}
        return cls.validated(dict(request.query_params.lists()), headers)

    @classmethod
    def validated(
        cls, query: Mapping[str, Sequence[str]], headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Return the validated parameters by name. Raises ValidationError."""
        serializer, values = cls._shared(), dict[str, Any](headers or {})
        for name, texts in query.items():
            field = None if name in cls.headers else serializer.fields.get(name)
            has_prefix = bool(cls.prefix) and name.startswith(cls.prefix)
            if field is None and name not in cls.ignored and not has_prefix:
                raise ValidationError({field_name(name): [serializer.unknown_text]})
            is_array = getattr(field, "array", None) is not None
            if len(texts) > 1 and name not in cls.ignored and not is_array:
                raise ValidationError({field_name(name): ["Must occur only once."]})
            values[name] = texts if is_array else texts[0]
        validated: dict[str, Any] = serializer.run_validation(values)
        return validated

    @classmethod
    @cache
    def _shared(cls) -> Self:
        """Return the instance of all requests: its fields hold no state of a request."""
        return cls()

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """Return the declared parameters and headers."""
        return {**super().get_fields(), **copy.deepcopy(dict(self.headers))}

    @property
    def unknown_text(self) -> str:
        """The error text for an unknown parameter."""
        names = (self.fields.keys() - self.headers.keys()) | self.ignored
        known = sorted(names | ({f"{self.prefix}<path>"} if self.prefix else set()))
        return f"Unknown parameter. Known parameters: {', '.join(known)}."


class EventConditions(RequestParameters):
    """Conditions on events; validated, an EventFilter and a window of cursors."""

    prefix = "data."

    event_type = Parameter(str, {"type": "string"}, "Only events of these types.", array=_VALUES)
    since = time("Only events appended at or after this time.")
    until = time("Only events appended before this time.")
    search = Parameter(
        str,
        {"type": "string"},
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
        values["event_filter"] = self._event_filter(values, data)
        return values

    def _event_filter(self, values: dict[str, Any], data: Mapping[str, Any]) -> EventFilter:
        names = [name for name in data if name.startswith(self.prefix)]
        paths = {name: name.removeprefix(self.prefix) for name in names}
        where = {path: data[name] for name, path in paths.items()}
        try:
            return EventFilter.of(values["event_type"], values["search"] or "", where)
        except ValueError as error:
            wrong = (name for name, path in paths.items() if not _is_path(path))
            raise ValidationError({field_name(next(wrong, "search")): [str(error)]}) from error


def _is_path(path: str) -> bool:
    with suppress(ValueError):
        return bool(EventFilter.of(where={path: ""}))
    return False


def _cursor_at(moment: datetime) -> Cursor:
    milliseconds = math.ceil((moment - _EPOCH) / timedelta(milliseconds=1))
    return Cursor(max(milliseconds, 0), 0)


class EventWindow(EventConditions):
    """Conditions on the events of one log."""

    after = cursor(_AFTER)
    before = cursor("Only events before this position.")


class HistoryQuery(EventWindow):
    """A page of the history of a job."""

    order = choice("Order of the events by id.", "asc", "desc", default="asc")
    limit = _page_limit()


class ExportQuery(EventWindow):
    """An export of the history of a job."""

    format = choice("Format of the file.", "ndjson", "csv", default="ndjson")


class PollQuery(RequestParameters):
    """A long-poll; validated, it has all parameters of a page of history."""

    ignored = frozenset({"format", "ticket"})

    after = cursor(_AFTER)
    limit = _page_limit()
    wait = number(
        0.0, MAX_WAIT_SECONDS, "Maximum number of seconds to wait for an event.", default=0.0
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Add the missing parameters."""
        fixed = {"before": None, "order": "asc", "event_filter": EventFilter(), "strict": True}
        return {**attrs, **fixed}


class ReplayQuery(RequestParameters):
    """Whether and how fast a log is replayed; validated, `speed` is None without a replay."""

    replay = choice("Replay the log with the original time between its events.", "1")
    speed = number(
        MIN_SPEED, MAX_SPEED, "The time between events is divided by this number.", default=1.0
    )

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Refuse a speed without a replay."""
        values: dict[str, Any] = super().to_internal_value(data)
        if values["replay"] is None:
            if "speed" in data:
                raise ValidationError({"replay": ["Must be 1 if speed is given."]})
            values["speed"] = None
        return values


class StreamQuery(ReplayQuery):
    """A stream of one job; an empty Last-Event-ID is ignored."""

    ignored = frozenset({"ticket"})
    headers: ClassVar[Mapping[str, Parameter]] = {LAST_EVENT_ID: cursor(_RECONNECT, empty=True)}

    after = cursor(_AFTER)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Let the header override `after`."""
        return {**attrs, "after": attrs[LAST_EVENT_ID] or attrs["after"] or START}


class MultiStreamQuery(RequestParameters):
    """A stream of several jobs; validated, `positions` has a cursor for each job id."""

    ignored = frozenset({"ticket"})
    headers: ClassVar[Mapping[str, Parameter]] = {LAST_EVENT_ID: cursors(_RECONNECT, empty=True)}

    job = Parameter(
        check_job_id,
        JOB_ID,
        "Job ids.",
        array=_subscriptions,
        required=True,
        error_messages={"required": "Name at least one job, such as ?job=a&job=b."},
    )
    after = cursors(
        "Only events after this position: one cursor for each job, in the order of the parameters"
        " `job`, separated by commas."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a position with too few or too many cursors; let the header override `after`."""
        job_ids, positions = attrs["job"], [START] * len(attrs["job"])
        for name in ("after", LAST_EVENT_ID):
            positions = attrs[name] or positions
            if len(positions) != len(job_ids):
                counts = f"Jobs: {len(job_ids)}, cursors: {len(positions)}."
                raise ValidationError({name: [f"Must have one cursor for each job. {counts}"]})
        return {**attrs, "positions": dict(zip(job_ids, positions, strict=True))}


class JobConditions(RequestParameters):
    """Conditions on jobs."""

    status = choice("Only jobs with one of these statuses.", *map(str, Job.Status), array=_VALUES)
    task_type = text("Only jobs of these task types.", min_length=1, array=_VALUES)
    owner = text("Only jobs of the users with these names.", min_length=1, array=_VALUES)


class JobCountsQuery(JobConditions):
    """The conditions of the list of jobs."""

    created_after = time("Only jobs created at or after this time.")
    created_before = time("Only jobs created before this time.")
    search = text("Only jobs with this text in title, job_id or task_type.")


class JobListQuery(JobCountsQuery):
    """A page of the list of jobs."""

    ordering = choice("Order of the jobs.", *JOB_ORDERS, default=JOB_ORDERS[0])
    limit = number(1, MAX_JOB_LIMIT, "Maximum number of jobs.", default=50)
    cursor = matching(r"[A-Za-z0-9+/=]+", PAGE_CURSOR, "From `next` or `previous`.")


class SearchQuery(JobConditions, EventConditions):
    """A page of the search in the logs of all visible jobs."""

    order = choice("Order of the events by time.", "asc", "desc", default="desc")
    limit = _page_limit(default=100)
    cursor = Parameter(SearchCursor.parse, _POSITION, "From `next`.")
