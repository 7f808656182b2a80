"""Errors in one shape: RFC 9457, Problem Details for HTTP APIs.

::

    {"type": "urn:job-events:invalid", "title": "Bad Request", "status": 400,
     "detail": "limit: It is a number from 1 to 1000. Given: 'x'.",
     "errors": [{"field": "limit", "detail": "It is a number from 1 to 1000. Given: 'x'."}]}

`type` is what a program goes by, and never changes; `errors` is there when fields are at fault, and
names each as the request did. Some problems have members of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import set_rollback

CONTENT_TYPE: Final = "application/problem+json"
TYPE: Final = "urn:job-events:"

# What DRF calls its own errors, where a program is better told the same by one name.
_CODES: Final = {"parse_error": "invalid", "authentication_failed": "not_authenticated"}


class Problem(exceptions.APIException):
    """An error with members of its own; `default_code` becomes its type."""

    def __init__(self, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.members = members


class Conflict(Problem):
    """The job, or its log, is not in a state that allows this."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


class OutOfSequence(Problem):
    """The events do not follow on the producer's last; `expected` is the number that does."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "out_of_order"


class Stale(Problem):
    """The job is at a later attempt than the producer."""

    status_code = status.HTTP_403_FORBIDDEN
    default_code = "stale_epoch"


class KeyUsed(Problem):
    """An Idempotency-Key that came with another request."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "key_used"


class Gone(Problem):
    """Part of the log is not kept any more; `first` and `after` say from where it can be read."""

    status_code = status.HTTP_410_GONE
    default_code = "gone"


class Unavailable(Problem):
    """What it takes to answer is not there now."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "unavailable"


def problem_response(error: Exception, _context: Any) -> Response | None:
    """The answer to an error; None for one that is a fault of ours, which Django answers."""
    match error:
        case Http404():
            error = exceptions.NotFound(*error.args)
        case PermissionDenied():
            error = exceptions.PermissionDenied(*error.args)
    if not isinstance(error, exceptions.APIException):
        return None
    headers = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = f"{wait:.0f}"
    set_rollback()
    return Response(_problem(error), error.status_code, headers=headers)


def _problem(error: exceptions.APIException) -> dict[str, Any]:
    code = error.default_code
    errors = list(_field_errors(error.detail))
    problem = {
        "type": TYPE + _CODES.get(code, code).replace("_", "-"),
        "title": HTTPStatus(error.status_code).phrase,
        "status": error.status_code,
        "detail": " ".join(": ".join(filter(None, each)) for each in errors),
    }
    if fields := [{"field": field, "detail": text} for field, text in errors if field]:
        problem["errors"] = fields
    return {**problem, **getattr(error, "members", {})}


def _field_errors(detail: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """What DRF nests, as pairs of a field, empty if it is none of the fields, and a sentence."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            own = "" if name in ("non_field_errors", "detail") else str(name)
            yield from _field_errors(inner, ".".join(filter(None, (field, own))))
    elif isinstance(detail, Sequence) and not isinstance(detail, str):
        for inner in detail:
            yield from _field_errors(inner, field)
    else:
        yield field, str(detail)
