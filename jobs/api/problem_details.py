"""Error responses in one format: RFC 9457, Problem Details for HTTP APIs.

::

    {"type": "urn:job-events:invalid", "title": "Bad Request", "status": 400,
     "detail": "limit: Must be an integer from 1 to 1000. Given: 'x'.",
     "errors": [{"field": "limit", "detail": "Must be an integer from 1 to 1000. Given: 'x'."}]}

`type` identifies the problem and is stable. `errors` names invalid fields, parameters and headers.
Some problems have additional members.
"""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

CONTENT_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:job-events:"

# The problem types of this API; those of DRF's errors are derived from their codes.
_STATUS: Final = {
    "stale-epoch": HTTPStatus.FORBIDDEN,
    "conflict": HTTPStatus.CONFLICT,
    "out-of-order": HTTPStatus.CONFLICT,
    "gone": HTTPStatus.GONE,
    "body-too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "key-used": HTTPStatus.UNPROCESSABLE_ENTITY,
    "needs-asgi": HTTPStatus.NOT_IMPLEMENTED,
    "needs-openapi": HTTPStatus.NOT_IMPLEMENTED,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
}
_DRF_TYPES: Final = {"parse_error": "invalid", "authentication_failed": "not-authenticated"}


class Problem(exceptions.APIException):
    """An error of one of the problem types of this API, with additional members."""

    def __init__(self, problem_type: str, detail: str, **members: Any) -> None:
        self.default_code, self.status_code = problem_type, int(_STATUS[problem_type])
        super().__init__(detail)
        self.members = members


def problem_response(error: Exception, _context: Any) -> Response | None:
    """Return the response to an error; None for an unexpected one, which Django handles."""
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
    return Response(problem_body(error), error.status_code, headers=headers)


def problem_body(error: exceptions.APIException) -> dict[str, Any]:
    """Return the problem details of an error."""
    code = error.default_code
    errors = list(_field_errors(error.detail))
    problem = {
        "type": TYPE_PREFIX + _DRF_TYPES.get(code, code.replace("_", "-")),
        "title": HTTPStatus(error.status_code).phrase,
        "status": error.status_code,
        "detail": " ".join(": ".join(filter(None, each)) for each in errors),
    }
    if fields := [{"field": field, "detail": text} for field, text in errors if field]:
        problem["errors"] = fields
    return {**problem, **getattr(error, "members", {})}


def _field_errors(detail: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """Flatten the nested details of a DRF error to pairs of field and text.

    The field is empty for an error of the whole request.
    """
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            own = "" if name in ("non_field_errors", "detail") else str(name)
            yield from _field_errors(inner, ".".join(filter(None, (field, own))))
    elif isinstance(detail, Sequence) and not isinstance(detail, str):
        for inner in detail:
            yield from _field_errors(inner, field)
    else:
        yield field, str(detail)
