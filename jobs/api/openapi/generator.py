"""Our part of a schema by drf-spectacular: what each view is, in whatever project."""

from typing import Any, Final

from django.urls import get_script_prefix
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import EndpointEnumerator, SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample

from jobs.api.base import JobsAPIView
from jobs.api.openapi.operations import OPERATIONS

_TITLE: Final = "Job events"
_ABOUT: Final = """
One durable, ordered log of events per job. A cursor is the id of an event, `<ms>-<seq>`, or `0`:
the position after that event, in history, export and live delivery alike. All errors are problem
details (RFC 9457). Beside this there are the sockets `/ws/jobs/{job_id}/` and `/ws/events/`.
"""


class TicketScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """A ticket, where a cookie or a header cannot be sent."""

    target_class = "jobs.api.base.TicketAuthentication"
    name = "ticket"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """The parameter `ticket`."""
        return {"type": "apiKey", "in": "query", "name": "ticket"}


class JobsSchema(AutoSchema):
    """Says of a view what is written of it; of what a project makes of it, what can be seen."""

    @property
    def said(self) -> dict[str, Any]:
        """What is written of the operation; a project's own view may be made of one of ours."""
        for view in type(self.view).__mro__:
            if operations := OPERATIONS.get(view):
                return operations().get(self.method.lower(), {})
        return {}

    def get_operation_id(self) -> str:
        """The name of the operation."""
        return self.said.get("operation_id") or super().get_operation_id()

    def get_tags(self) -> list[str]:
        """With what it is shown."""
        return self.said.get("tags") or super().get_tags()

    def get_summary(self) -> str:
        """What it does, in a line: the first of the view's own words."""
        return super().get_description().partition("\n\n")[0].rstrip(".")

    def get_description(self) -> str:  # type: ignore[override]
        """What else is to be said."""
        return super().get_description().partition("\n\n")[2]

    def get_override_parameters(self) -> list[Any]:
        """Its parameters, and the headers of its request and its answers."""
        parameters: list[Any] = self.said.get("parameters", [])
        return parameters

    def get_request_serializer(self) -> Any:
        """Its body."""
        return self.said.get("request")

    def _get_request_body(self, direction: str = "request") -> Any:
        """It is needed wherever there is one, which is not said of a schema that is written out."""
        body = super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        return body and {**body, "required": True}

    def get_response_serializers(self) -> Any:
        """Its answers."""
        return self.said.get("responses", {})

    def get_examples(self) -> list[OpenApiExample]:
        """An example of its body."""
        examples: list[OpenApiExample] = self.said.get("examples", [])
        return examples


class _OurEndpoints(EndpointEnumerator):
    def should_include_endpoint(self, path: str, callback: Any) -> bool:
        """Those of this API alone; the project may have others."""
        view = getattr(callback, "cls", None)
        is_ours = isinstance(view, type) and issubclass(view, JobsAPIView)
        return is_ours and bool(super().should_include_endpoint(path, callback))


class _Generator(SchemaGenerator):
    endpoint_inspector_cls = _OurEndpoints


def describe() -> None:
    """Let the views of the API have this schema, whatever the project has set for its own."""
    JobsAPIView.schema = JobsSchema()


def schema() -> dict[str, Any]:
    """The schema of our API, with the addresses that it has in this project."""
    generator: Any = _Generator
    found = generator().get_schema(request=None, public=True)
    info = {"title": _TITLE, "version": "1", "description": _ABOUT.strip()}
    prefix = get_script_prefix().rstrip("/")
    return {**found, "info": info, "servers": [{"url": prefix or "/"}]}
