"""Error responses in one format: RFC 9457, Problem Details for HTTP APIs.

::

    {"type": "urn:job-events:invalid", "title": "Bad Request", "status": 400,
     "detail": "limit: Must be …", "errors": [{"field": "limit", "detail": "Must be …"}]}

`type` identifies the problem and is stable. `errors` names invalid fields, parameters and headers.
Some problems have additional members.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import exception_handler

from events import exceptions as log
from events.database import UNAVAILABLE
from events.error_text import ErrorText
from events.live.rejection import problem
from events.log_format import log_failure
from events.translation import translated
from jobs import exceptions as jobs

logger = logging.getLogger(__name__)

# The texts that clients receive: those of the errors contain addresses, paths and replies of Redis.
_FAILURES: Final[Mapping[type[Exception], str]] = {
    log.EventsError: ErrorText("The event log is unavailable."),
    log.RedisUnavailable: ErrorText("The event log is unavailable: Redis does not answer."),
    log.RedisOutOfMemory: ErrorText("The event log is unavailable: Redis is out of memory."),
    jobs.RunnerNotFound: ErrorText("The runner of this task_type cannot be imported."),
    **dict.fromkeys(UNAVAILABLE, ErrorText("The database is unavailable.")),
}
# The problem types of API and sockets: their status, and the errors of a log or a job that they
# report, with the subclasses of these.
_PROBLEMS: Final[Mapping[str, tuple[int, Sequence[type[Exception]]]]] = {
    "invalid": (400, (log.InvalidJobId, log.InvalidCursor, log.InvalidEvent)),
    "not-authenticated": (403, (jobs.InvalidTicket,)),
    "stale-epoch": (403, (log.ProducerFenced,)),
    "not-found": (404, (jobs.JobNotFound, jobs.InputNotFound, log.LogDeleted)),
    "conflict": (409, (log.NotAStream, jobs.JobError)),
    "out-of-order": (409, (log.OutOfOrderSequence,)),
    "gone": (410, (log.CursorLost, log.CursorExpired)),
    "body-too-large": (413, ()),
    "key-used": (422, (log.IdempotencyConflict,)),
    "throttled": (429, (jobs.TooOften,)),
    "needs-asgi": (501, ()),
    "needs-openapi": (501, ()),
    "needs-metrics": (501, ()),
    "unavailable": (503, tuple(_FAILURES)),
}
_TYPES: Final = {error: name for name, (_, errors) in _PROBLEMS.items() for error in errors}
# The types of DRF's errors are their codes, except these.
_DRF_TYPES: Final = {"parse_error": "invalid", "authentication_failed": "not-authenticated"}
_TEXTS: Final[Mapping[type, str]] = {
    **_FAILURES,
    log.ProducerFenced: ErrorText(
        "The job is at a later attempt; producers of this one are fenced."
    ),
    log.LogDeleted: ErrorText("The job_id is not available."),
}
# The attributes of errors that are members of the problem.
_MEMBERS: Final = {"truncated_before": "first", "after": "after", "expected": "expected"}


class Problem(exceptions.APIException):
    """An error of one of the problem types of this API, with additional members."""

    def __init__(self, problem_type: str, detail: str, **members: Any) -> None:
        self.default_code, self.status_code = problem_type, _PROBLEMS[problem_type][0]
        super().__init__(translated(detail))
        self.members = members


def problem_response(error: Exception, context: Any) -> Response | None:
    """Return the response to an error; None for an unexpected one, which Django handles."""
    error = _as_http(error)
    response = exception_handler(error, context)
    if response is not None and isinstance(error, exceptions.APIException):
        response.data = _problem_body(error)
    return response


def problem_of(error: Exception) -> dict[str, Any]:
    """Return the problem details of an error of a log, of a job or of the database."""
    return _problem_body(cast(exceptions.APIException, _as_http(error)))


def _as_http(error: Exception) -> Exception:
    """Return the HTTP error for an error of Django, of a log or of a job; log a failure."""
    match error:
        case Http404():
            return exceptions.NotFound(*error.args)
        case PermissionDenied():
            return exceptions.PermissionDenied(*error.args)
        case jobs.InvalidJob():
            return exceptions.ValidationError({error.field: [translated(error.message)]})
    kind = next((each for each in type(error).__mro__ if each in _TYPES), None)
    if kind is None:
        return error
    if kind in _FAILURES:
        log_failure(logger, "request_failed", error)
    given = vars(error)
    members = {member: given[name] for name, member in _MEMBERS.items() if name in given}
    return Problem(_TYPES[kind], _TEXTS.get(kind) or translated(error), **members)


def _problem_body(error: exceptions.APIException) -> dict[str, Any]:
    code = error.default_code
    errors = list(_field_errors(error.detail))
    problem_type = _DRF_TYPES.get(code, code.replace("_", "-"))
    detail = " ".join(": ".join(filter(None, each)) for each in errors)
    body = problem(error.status_code, problem_type, detail)
    if fields := [{"field": field, "detail": text} for field, text in errors if field]:
        body["errors"] = fields
    return {**body, **getattr(error, "members", {})}


def _field_errors(detail: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """Flatten the nested details of a DRF error to pairs of field and text.

    The field is empty for an error of the whole request.
    """
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            own = "" if name in (api_settings.NON_FIELD_ERRORS_KEY, "detail") else str(name)
            yield from _field_errors(inner, ".".join(filter(None, (field, own))))
    elif isinstance(detail, Sequence) and not isinstance(detail, str):
        for inner in detail:
            yield from _field_errors(inner, field)
    else:
        yield field, str(detail)
