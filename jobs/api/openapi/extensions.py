"""Extensions of drf-spectacular; they apply to our schema and to that of the project."""

import inspect
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any, Final

import orjson
from django.urls import get_script_prefix
from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerExtension,
    OpenApiViewExtension,
)
from drf_spectacular.generators import EndpointEnumerator, SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiRequest, OpenApiResponse

from jobs.api.base import JobsAPIView
from jobs.api.openapi.operations import MEDIA_TYPES, OPERATIONS, STATUSES, WITH_ETAG, Operation
from jobs.api.openapi.responses import ProblemDetails
from jobs.api.problem_details import CONTENT_TYPE
from jobs.api.query import JOB_ID, RequestParameters
from jobs.api.serializers import JobCreateSerializer

_DESCRIPTION: Final = """
One durable, ordered log of events for each job. A cursor is the id of an event, `<ms>-<seq>`, or
`0`: the position after that event, in history, export and live delivery alike. Errors are problem
details (RFC 9457). The WebSockets `/ws/jobs/{job_id}/` and `/ws/events/` complement this API.
"""
# By serializer name, media type or operation id.
EXAMPLES: Final[dict[str, Any]] = orjson.loads((files(__package__) / "examples.json").read_bytes())
_JSON: Final = "application/json"
_NOT_MODIFIED: Final = OpenApiResponse(description="Not modified: the ETag sent is current.")
_LOCATION: Final = OpenApiParameter(
    "Location", {"type": "string"}, OpenApiParameter.HEADER, response=[200, 201]
)


# A method that a project adds to one of the views.
_OTHER_OPERATION: Final = Operation("", "", {})


class _OperationSchema(AutoSchema):
    @property
    def _operation(self) -> Operation:
        """The operation of the view, or of the view that the project's view is derived from."""
        views = (view for view in type(self.view).__mro__ if view in OPERATIONS)
        return OPERATIONS[next(views)].get(self.method, _OTHER_OPERATION)

    def get_operation_id(self) -> str:
        return self._operation.id or super().get_operation_id()

    def get_tags(self) -> list[str]:
        return [self._operation.tag] if self._operation.tag else super().get_tags()

    def get_summary(self) -> str:
        return super().get_description().partition("\n\n")[0].rstrip(".")

    def get_description(self) -> str:  # type: ignore[override]
        return super().get_description().partition("\n\n")[2]

    def get_override_parameters(self) -> list[Any]:
        parameters = list(_parameters(self._operation.parameters()))
        if "{job_id}" in self.path:
            parameters.append(OpenApiParameter("job_id", JOB_ID, OpenApiParameter.PATH))
        is_created = self._operation.body is JobCreateSerializer
        return [*parameters, *([_LOCATION] if is_created else [])]

    def get_request_serializer(self) -> Any:
        if (body := self._operation.body) is None:
            return None
        return {_JSON: OpenApiRequest(body, examples=[self._example(body, _JSON)])}

    def _get_request_body(self, direction: str = "request") -> Any:
        # drf-spectacular derives `required` from a serializer, and not from a JSON schema.
        body = super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        return body and {**body, "required": True}

    def get_response_serializers(self) -> Any:
        operation, responses = self._operation, dict[Any, OpenApiResponse]()
        for media_type in MEDIA_TYPES.get(operation.id, (_JSON,)):
            examples = [self._example(operation.result, media_type)]
            for status in STATUSES.get(operation.id, (200,)):
                response = OpenApiResponse(operation.result, examples=examples)
                responses[status, media_type] = response
        for name in operation.problem_types:
            key = EXAMPLES["problems"][name]["status"], CONTENT_TYPE
            known = responses[key].examples if key in responses else ()
            examples = [*known, OpenApiExample(name, EXAMPLES["problems"][name])]
            responses[key] = OpenApiResponse(ProblemDetails, examples=examples)
        return {**responses, **({304: _NOT_MODIFIED} if operation.id in WITH_ETAG else {})}

    def _example(self, body: Any, media_type: str) -> OpenApiExample:
        """Return the example of a serializer, a media type or this operation."""
        name = getattr(body, "__name__", "").removesuffix("Serializer")
        key = name or (media_type if media_type in EXAMPLES else self._operation.id)
        return OpenApiExample("Example", EXAMPLES[key])


def _parameters(serializer: RequestParameters) -> Iterator[OpenApiParameter]:
    fields: Mapping[str, Any] = serializer.fields
    for name, field in fields.items():
        location: Any = "header" if name in serializer.headers else "query"
        options = {"required": field.required, "description": field.help_text}
        yield OpenApiParameter(name, field.openapi, location, **options)


class JobsViewExtension(OpenApiViewExtension):  # type: ignore[no-untyped-call]
    """Describes the views of the API, and those that a project derives from them."""

    target_class = "jobs.api.base.JobsAPIView"
    match_subclasses = True

    def view_replacement(self) -> type[JobsAPIView]:
        """Return the view with a schema class that does not depend on DEFAULT_SCHEMA_CLASS."""
        view: type[JobsAPIView] = self.target
        if not any(parent in OPERATIONS for parent in view.__mro__):
            return view
        return type(view.__name__, (view,), {"schema": _OperationSchema()})


class BodyExtension(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Describes request bodies: unknown fields are refused."""

    target_class = "jobs.api.serializers.BodySerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        """Return the JSON schema of the body."""
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)  # noqa: SLF001 - its documented way
        return {**schema, "additionalProperties": False}


class TicketExtension(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes authentication by ticket."""

    target_class = "jobs.api.base.TicketAuthentication"
    name = "ticket"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Return the security scheme."""
        return {"type": "apiKey", "in": "query", "name": "ticket"}


class _JobsEndpoints(EndpointEnumerator):
    def should_include_endpoint(self, path: str, callback: Any) -> bool:
        view = getattr(callback, "cls", None)
        is_jobs_view = inspect.isclass(view) and issubclass(view, JobsAPIView)
        return is_jobs_view and bool(super().should_include_endpoint(path, callback))


class _JobsGenerator(SchemaGenerator):
    endpoint_inspector_cls = _JobsEndpoints


def api_schema() -> dict[str, Any]:
    """Return the schema of this API alone, with its URLs in this project."""
    schema = _JobsGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    info = {"title": "Job events", "version": "1", "description": _DESCRIPTION.strip()}
    prefix = get_script_prefix().rstrip("/")
    return {**schema, "info": info, "servers": [{"url": prefix or "/"}]}
