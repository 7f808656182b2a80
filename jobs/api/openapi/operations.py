"""What there is to say of each operation of the API."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework.views import APIView

from events.conf import event_settings
from events.live.replay import MAX_SPEED, MIN_SPEED
from events.producer.external import LARGEST_NUMBER
from jobs.api.openapi import shapes
from jobs.api.openapi.shapes import (
    A_NAME,
    CURSOR,
    JOB_ID,
    JSON,
    KEY,
    PLACE,
    POSITIONS,
    PROBLEMS,
    TEXT,
    TIME,
    a_number,
    one_of,
    several,
)
from jobs.api.pagination import JobPagination
from jobs.api.problem_details import CONTENT_TYPE
from jobs.api.producer_headers import (
    IDEMPOTENCY_KEY,
    LARGEST_EPOCH,
    PRODUCER_EPOCH,
    PRODUCER_ID,
    PRODUCER_SEQUENCE,
)
from jobs.api.serializers import InputRequestSerializer, JobSerializer
from jobs.api.views import events, export, inputs, jobs, live
from jobs.conf import job_settings
from jobs.models import Job

Responses = dict[int | tuple[int, str], OpenApiResponse]
Operations = dict[str, dict[str, Any]]
Described = Callable[[], Operations]

# The operations of a view, by method; asked for late, as settings are among what they say.
OPERATIONS: Final[dict[type[APIView], Described]] = {}

_NDJSON: Final = "application/x-ndjson"
_EVENT_STREAM: Final = "text/event-stream"
_EVERYWHERE: Final = ("invalid", "not-authenticated", "permission-denied", "not-acceptable")
_OF_A_BODY: Final = ("unsupported-media-type", "body-too-large")
_OF_A_JOB: Final = ("not-found",)
_OF_A_LOG: Final = ("not-found", "conflict", "gone", "unavailable")
_UNCHANGED: Final[Responses] = {304: OpenApiResponse(description="It is as the given ETag has it.")}
_AGAIN: Final = "The request may come again by this name."


def _describes(view: type[APIView]) -> Callable[[Described], Described]:
    """Says that a function tells the operations of a view."""

    def decorator(operations: Described) -> Described:
        OPERATIONS[view] = operations
        return operations

    return decorator


def _operation(
    name: str,
    tag: str,
    parameters: Iterable[OpenApiParameter],
    answers: Responses,
    *problems: str,
) -> dict[str, Any]:
    """An operation without a body."""
    return {
        "operation_id": name,
        "tags": [tag],
        "parameters": list(parameters),
        "responses": {**answers, **_problems((*_EVERYWHERE, *problems))},
    }


def _with_body(operation: dict[str, Any], schema: Any, example: Any) -> dict[str, Any]:
    examples = [OpenApiExample("A request", example, request_only=True)]
    return {**operation, "request": {JSON: schema}, "examples": examples}


def _answers(code: int, shape: Any, example: Any, kind: str = JSON) -> Responses:
    examples = [OpenApiExample("An answer", example, media_type=kind, status_codes=[str(code)])]
    return {(code, kind): OpenApiResponse(shape, examples=examples)}


def _problems(types: Iterable[str]) -> Responses:
    """The errors of these types, of which several may have one status."""
    by_status: dict[int, list[OpenApiExample]] = {}
    for name in dict.fromkeys(types):
        status = PROBLEMS[name]["status"]
        example = OpenApiExample(
            name, PROBLEMS[name], media_type=CONTENT_TYPE, status_codes=[str(status)]
        )
        by_status.setdefault(status, []).append(example)
    return {
        (status, CONTENT_TYPE): OpenApiResponse(shapes.ProblemDetails, examples=examples)
        for status, examples in by_status.items()
    }


def _query(
    name: str, schema: dict[str, Any], description: str = "", *, required: bool = False
) -> OpenApiParameter:
    return OpenApiParameter(name, schema, required=required, description=description)


def _header(name: str, schema: dict[str, Any], description: str) -> OpenApiParameter:
    return OpenApiParameter(name, schema, OpenApiParameter.HEADER, description=description)


def _job() -> OpenApiParameter:
    return OpenApiParameter("job_id", JOB_ID, OpenApiParameter.PATH)


def _after() -> OpenApiParameter:
    return _query("after", CURSOR, "What follows this position.")


def _page_limit(default: int | None = None) -> OpenApiParameter:
    most = event_settings.PAGE_LIMIT
    return _query("limit", a_number(1, most, default or most), "At most so many.")


def _order(default: str) -> OpenApiParameter:
    return _query("order", one_of("asc", "desc", default=default))


def _job_filters() -> list[OpenApiParameter]:
    statuses = one_of(*map(str, Job.Status))
    return [
        _query("status", {"type": "array", "items": statuses}, "Of one of these."),
        _query("task_type", several(A_NAME), "Of one of these."),
        _query("owner", several(A_NAME), "Of one of the users of these names."),
    ]


def _list_filters() -> list[OpenApiParameter]:
    return [
        *_job_filters(),
        _query("created_after", TIME, "From this time on."),
        _query("created_before", TIME, "Before this time."),
        _query("search", TEXT, "With this text in title, job_id or task_type."),
    ]


def _conditions() -> list[OpenApiParameter]:
    words = "With all of these words; one that ends with * is the start of one."
    return [
        _query("event_type", several({"type": "string"}), "Of one of these types."),
        _query("since", TIME, "Appended from this time on."),
        _query("until", TIME, "Appended before this time."),
        _query("search", {"type": "string"}, words),
    ]


def _window() -> list[OpenApiParameter]:
    return [_after(), _query("before", CURSOR, "What is before this event."), *_conditions()]


@_describes(jobs.JobListView)
def _jobs() -> Operations:
    orders, most = JobPagination.orders, JobPagination.max_page_size
    listed = [
        *_list_filters(),
        _query("ordering", one_of(*orders, default=orders[0])),
        _query("limit", a_number(1, most, JobPagination.page_size), "At most so many."),
        _query("cursor", shapes.LINK, "From `next` or `previous`."),
    ]
    created = [
        _header(IDEMPOTENCY_KEY, KEY, _AGAIN),
        OpenApiParameter(
            "Location", {"type": "string"}, OpenApiParameter.HEADER, response=[200, 201]
        ),
    ]
    one = _answers(201, JobSerializer, shapes.A_JOB) | _answers(200, JobSerializer, shapes.A_JOB)
    answers = _answers(200, shapes.JobPage, shapes.A_JOB_PAGE) | _UNCHANGED
    problems = (*_OF_A_BODY, "conflict", "key-used", "unavailable")
    return {
        "get": _operation("job_list", "jobs", listed, answers),
        "post": _with_body(
            _operation("job_create", "jobs", created, one, *problems),
            shapes.NEW_JOB,
            {"task_type": "report", "payload": {"year": 2026}},
        ),
    }


@_describes(jobs.JobCountsView)
def _job_counts() -> Operations:
    answers = _answers(200, shapes.COUNTS, shapes.SOME_COUNTS) | _UNCHANGED
    return {"get": _operation("job_counts", "jobs", _list_filters(), answers)}


@_describes(jobs.JobDetailView)
def _job_detail() -> Operations:
    answers = _answers(200, JobSerializer, shapes.A_JOB) | _UNCHANGED
    return {"get": _operation("job_retrieve", "jobs", [_job()], answers, *_OF_A_JOB)}


def _step(name: str, *more: str) -> Operations:
    """Something that is done to a job; `more` are further problems."""
    answers = _answers(200, JobSerializer, shapes.A_JOB)
    problems = (*_OF_A_JOB, *more, "conflict", "unavailable")
    return {"post": _operation(name, "jobs", [_job()], answers, *problems)}


@_describes(jobs.JobCancelView)
def _job_cancel() -> Operations:
    post = _step("job_cancel", *_OF_A_BODY)["post"]
    return {"post": _with_body(post, shapes.CANCELLATION, {"terminate": True})}


@_describes(jobs.JobRetryView)
def _job_retry() -> Operations:
    return _step("job_retry")


@_describes(inputs.JobInputsView)
def _job_inputs() -> Operations:
    listed = _answers(200, shapes.InputList, {"results": [shapes.A_QUESTION]})
    answered = _answers(200, InputRequestSerializer, shapes.A_QUESTION)
    problems = (*_OF_A_JOB, *_OF_A_BODY, "conflict", "unavailable")
    return {
        "get": _operation("input_list", "jobs", [_job()], listed, *_OF_A_JOB),
        "post": _with_body(
            _operation("input_give", "jobs", [_job()], answered, *problems),
            shapes.ANSWER,
            {"name": "approve", "value": "yes"},
        ),
    }


@_describes(jobs.JobTicketView)
def _job_ticket() -> Operations:
    answers = _answers(201, shapes.Ticket, shapes.A_TICKET)
    return {"post": _operation("job_ticket", "live", [_job()], answers, *_OF_A_JOB)}


@_describes(events.JobEventsView)
def _job_events() -> Operations:
    published = [
        _job(),
        _header(IDEMPOTENCY_KEY, KEY, _AGAIN),
        _header(PRODUCER_ID, KEY, f"A producer; goes with {PRODUCER_SEQUENCE}."),
        _header(PRODUCER_SEQUENCE, a_number(1, LARGEST_NUMBER), "The number of the first event."),
        _header(PRODUCER_EPOCH, a_number(0, LARGEST_EPOCH), "The attempt of the job."),
    ]
    ids = _answers(201, shapes.Published, {"ids": [shapes.AN_EVENT["id"]]})
    problems = ("conflict", "out-of-order", "stale-epoch", "throttled", "unavailable")
    page = _answers(200, shapes.HistoryPage, shapes.A_HISTORY_PAGE) | _UNCHANGED
    read = [_job(), *_window(), _order("asc"), _page_limit()]
    return {
        "get": _operation("event_list", "events", read, page, *_OF_A_LOG),
        "post": _with_body(
            _operation(
                "event_publish", "events", published, ids, *_OF_A_JOB, *_OF_A_BODY, *problems
            ),
            shapes.NEW_EVENTS,
            {"event_type": "thought", "text": "So far so good"},
        ),
    }


@_describes(export.JobEventExportView)
def _export() -> Operations:
    forms = _query("format", one_of("ndjson", "csv", default="ndjson"))
    text = {"type": "string"}
    answers = _answers(200, text, shapes.A_LINE, _NDJSON)
    answers |= _answers(200, text, shapes.SOME_CSV, "text/csv")
    parameters = [_job(), *_window(), forms]
    return {
        "get": _operation("event_export", "events", parameters, answers, *_OF_A_LOG, "throttled")
    }


@_describes(events.EventSearchView)
def _search() -> Operations:
    parameters = [
        *_job_filters(),
        *_conditions(),
        _order("desc"),
        _page_limit(events.SEARCH_PAGE),
        _query("cursor", PLACE, "From `next`."),
    ]
    answers = _answers(200, shapes.FoundPage, shapes.A_FOUND_PAGE)
    return {"get": _operation("event_search", "events", parameters, answers)}


@_describes(events.JobStreamView)
def _stream_state() -> Operations:
    answers = _answers(200, shapes.StreamState, shapes.A_STATE)
    return {"get": _operation("stream_state", "events", [_job()], answers, *_OF_A_LOG)}


@_describes(live.JobEventPollView)
def _poll() -> Operations:
    wait = a_number(0.0, live.MOST_WAIT, 0.0)
    parameters = [_job(), _after(), _page_limit(), _query("wait", wait, "Seconds to wait.")]
    answers = _answers(200, shapes.PolledPage, {**shapes.A_HISTORY_PAGE, "waits": True})
    return {"get": _operation("event_poll", "live", parameters, answers, *_OF_A_LOG)}


_COMES_BACK: Final = "As `after`; a browser that comes back says it by itself."
_OF_A_STREAM: Final = (*_OF_A_LOG, "throttled", "needs-asgi")


@_describes(live.JobEventStreamView)
def _stream() -> Operations:
    parameters = [
        _job(),
        _after(),
        _header("Last-Event-ID", CURSOR, _COMES_BACK),
        _query("replay", one_of("1"), "The log again, with the time between its events."),
        _query(
            "speed", a_number(MIN_SPEED, MAX_SPEED, 1.0), "A replay goes so many times as fast."
        ),
    ]
    answers = _answers(200, shapes.SENT, shapes.SOME_FRAMES, _EVENT_STREAM)
    return {"get": _operation("event_stream", "live", parameters, answers, *_OF_A_STREAM)}


@_describes(live.EventStreamView)
def _stream_of_many() -> Operations:
    jobs = {**several(JOB_ID, job_settings.MAX_SUBSCRIPTIONS), "minItems": 1, "uniqueItems": True}
    parameters = [
        _query("job", jobs, "Which jobs.", required=True),
        _query("after", POSITIONS, "A cursor for each job, with commas between them."),
        _header("Last-Event-ID", POSITIONS, _COMES_BACK),
    ]
    answers = _answers(200, shapes.SENT, shapes.SOME_FRAMES_OF_MANY, _EVENT_STREAM)
    return {"get": _operation("events_stream", "live", parameters, answers, *_OF_A_STREAM)}
