"""Extensions of drf-spectacular; they apply to our schema and to that of the project."""

import threading
from collections.abc import Callable
from importlib.resources import files
from typing import Any, Final, cast

import orjson
from django.urls import get_script_prefix
from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerExtension,
    OpenApiViewExtension,
)
from drf_spectacular.generators import EndpointEnumerator, SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.settings import SPECTACULAR_DEFAULTS, patched_settings
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiRequest, OpenApiResponse

from events.live.rejection import CONTENT_TYPE
from jobs.api.base import JobsAPIView
from jobs.api.openapi import operations
from jobs.api.query import JOB_ID
from jobs.conf import job_settings
from jobs.execution import dispatch

_DESCRIPTION: Final = """
One durable, ordered log of events for each job. A cursor is the id of an event, `<ms>-<seq>`, or
`0`: the position after that event, in history, export and live delivery alike. Errors are problem
details (RFC 9457). The WebSockets `/ws/jobs/{job_id}/` and `/ws/events/` complement this API.
"""
# By serializer name, media type or operation id.
EXAMPLES: Final[dict[str, Any]] = orjson.loads((files(__package__) / "examples.json").read_bytes())
_JSON: Final = "application/json"
_NEW_EVENT: Final = cast(Any, ResolvedComponent)(
    "NewEvent", ResolvedComponent.SCHEMA, operations.NEW_EVENT, "NewEvent"
)
_NO_CONTENT: Final = OpenApiResponse(description="Done; the response has no body.")
# Without those that drf-spectacular refuses to replace.
_DEFAULTS: Final = {
    name: value
    for name, value in SPECTACULAR_DEFAULTS.items()
    if name != "DEFAULT_GENERATOR_CLASS" and not name.startswith("SERVE_")
}
_replaced_settings: Final = threading.Lock()
_NOT_MODIFIED: Final = OpenApiResponse(description="Not modified: the ETag sent is current.")


def _handler(view: type, method: str) -> Callable[..., Any] | None:
    """Return the method with an operation that a view has; a project's view may override it."""
    handlers = [vars(each).get(method.lower()) for each in view.__mro__]
    return next((handler for handler in handlers if handler in operations.OPERATIONS), None)


class _OperationSchema(AutoSchema):
    def is_excluded(self) -> bool:
        """Exclude what a project adds to one of our views."""
        self._handler: Any = _handler(type(self.view), self.method)
        return self._handler is None

    @property
    def _operation(self) -> operations.Operation:
        return operations.OPERATIONS[self._handler]

    def get_operation_id(self) -> str:
        return self._operation.id

    def get_tags(self) -> list[str]:
        return [self._handler.__module__.rpartition(".")[2]]

    def get_summary(self) -> str:
        return super().get_description().partition("\n\n")[0].rstrip(".")

    def get_description(self) -> str:  # type: ignore[override]
        return super().get_description().partition("\n\n")[2]

    def get_override_parameters(self) -> list[Any]:
        parameters = []
        for name, field in self._operation.parameters.shared().fields.items():
            location: Any = "header" if field.header else "query"
            options: dict[str, Any] = {"required": field.required, "description": field.help_text}
            parameters.append(OpenApiParameter(name, field.openapi, location, **options))
        if "{job_id}" in self.path:
            parameters.append(OpenApiParameter("job_id", JOB_ID, OpenApiParameter.PATH))
        return parameters

    def get_request_serializer(self) -> Any:
        if (body := self._operation.body) is None:
            return None
        if body is operations.NEW_EVENTS:
            self.registry.register_on_missing(_NEW_EVENT)
        return {_JSON: OpenApiRequest(body, examples=[self._example(body, _JSON)])}

    def _get_request_body(self, direction: str = "request") -> Any:
        # drf-spectacular derives `required` from a serializer, and not from a JSON schema.
        body = super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        is_serializer = isinstance(self._operation.body, type)
        return body if is_serializer or not body else {**body, "required": True}

    def get_response_serializers(self) -> Any:
        operation, responses = self._operation, dict[Any, Any]()
        media_types = {_JSON: operation.result} if operation.result else {}
        for media_type, schema in operations.MEDIA_TYPES.get(operation.id, media_types).items():
            examples = [self._example(schema, media_type)]
            for status in operations.STATUSES.get(operation.id, (200,)):
                responses[status, media_type] = OpenApiResponse(schema, examples=examples)
        if not responses:
            responses[204] = _NO_CONTENT
        body_problems = operations.BODY_PROBLEMS if operation.body else ()
        for name in (*operations.COMMON_PROBLEMS, *body_problems, *operation.problems):
            example = OpenApiExample(name, EXAMPLES["problems"][name])
            problem = OpenApiResponse(operations.ProblemDetails, examples=[])
            key = EXAMPLES["problems"][name]["status"], CONTENT_TYPE
            responses.setdefault(key, problem).examples.append(example)
        if operation.id in operations.WITH_ETAG:
            responses[304] = _NOT_MODIFIED
        return responses

    def _example(self, body: Any, media_type: str) -> OpenApiExample:
        """Return the example of a serializer, a media type or this operation."""
        name = getattr(body, "__name__", "").removesuffix("Serializer")
        key = name or (media_type if media_type in EXAMPLES else self._operation.id)
        return OpenApiExample("Example", EXAMPLES[key])


class JobsViewExtension(OpenApiViewExtension):  # type: ignore[no-untyped-call]
    """Describes the views of the API, and those that a project derives from them."""

    target_class = "jobs.api.base.JobsAPIView"
    match_subclasses = True

    def view_replacement(self) -> type[JobsAPIView]:
        """Return the view with a schema class that does not depend on DEFAULT_SCHEMA_CLASS."""
        view: type[JobsAPIView] = self.target
        if not any(_handler(view, method) for method in view.http_method_names):
            return view
        return type(view.__name__, (view,), {"schema": _OperationSchema()})


class BodyExtension(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Describes request bodies: unknown fields are refused."""

    target_class = "jobs.api.serializers.BodySerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)  # noqa: SLF001 - its documented way
        schema = {**schema, "additionalProperties": False}
        is_new_job = "task_type" in schema["properties"]
        if not is_new_job or job_settings.JOBS_WITHOUT_RUNNER or not job_settings.RUNNERS:
            return schema
        return {"oneOf": [_with_arguments(schema, task_type) for task_type in job_settings.RUNNERS]}


def _with_arguments(schema: dict[str, Any], task_type: str) -> dict[str, Any]:
    """Return the schema of a new job of a task_type: its payload has the runner's arguments."""
    arguments = dispatch.payload_parameters(task_type)
    if arguments is None:
        payload, required = {}, []
    else:
        named = [each for each in arguments if each.kind is not each.VAR_KEYWORD]
        required = [each.name for each in named if each.default is each.empty]
        payload = {
            "properties": {each.name: {} for each in named},
            "additionalProperties": len(named) < len(arguments),
            **({"required": required} if required else {}),
        }
    of, properties = ["payload"] if required else [], schema["properties"]
    return {
        **schema,
        "title": f"New job {task_type}",
        "required": [*schema["required"], *of],
        "properties": {
            **properties,
            # Not as `enum`: drf-spectacular would make one component of those of all types.
            "task_type": {"allOf": [{"type": "string", "enum": [task_type]}]},
            "payload": {**properties["payload"], **payload},
        },
    }


class TicketExtension(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes authentication by ticket."""

    target_class = "jobs.api.base.TicketAuthentication"
    name = "ticket"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {"type": "apiKey", "in": "query", "name": "ticket"}


class _JobsEndpoints(EndpointEnumerator):
    def should_include_endpoint(self, path: str, callback: Any) -> bool:
        is_jobs_view = issubclass(getattr(callback, "cls", object), JobsAPIView)
        return is_jobs_view and bool(super().should_include_endpoint(path, callback))


class _JobsGenerator(SchemaGenerator):
    endpoint_inspector_cls = _JobsEndpoints


def api_schema() -> dict[str, Any]:
    """Return the schema of this API alone, with its URLs in this project.

    It does not depend on SPECTACULAR_SETTINGS: hooks of the project may expect its own views.
    """
    with _replaced_settings, cast(Any, patched_settings)(_DEFAULTS):
        schema = _JobsGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    info = {"title": "Job events", "version": "1", "description": _DESCRIPTION.strip()}
    prefix = get_script_prefix().rstrip("/")
    return {**schema, "info": info, "servers": [{"url": prefix or "/"}]}
