"""The OpenAPI schema, and the page that shows it."""

from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Final

from django.contrib.auth.mixins import LoginRequiredMixin
from django.urls import get_script_prefix, get_urlconf
from django.utils.decorators import method_decorator
from django.utils.translation import override
from django.views.decorators.http import conditional_page
from django.views.generic import TemplateView
from rest_framework.request import Request
from rest_framework.response import Response

from events.error_text import ErrorText
from jobs.access.login import login_url
from jobs.api.base import JobsAPIView, api_url
from jobs.api.openapi.strings import docs_page_strings
from jobs.api.problem_details import Problem
from jobs.conf import job_settings
from jobs.selectors import sees_monitor, startable_task_types

IS_INSTALLED: Final = find_spec("drf_spectacular") is not None
_NOT_INSTALLED: Final = ErrorText(
    "The schema needs drf-spectacular: pip install 'django-job-events[openapi]'."
)

if IS_INSTALLED:
    from jobs.api.openapi import extensions


class SchemaView(JobsAPIView):
    """The schema of the API (OpenAPI 3)."""

    schema = None  # excludes the view from the schema

    @method_decorator(conditional_page)
    def get(self, request: Request) -> Response:
        if not IS_INSTALLED:
            raise Problem("needs-openapi", _NOT_INSTALLED)
        return Response(_schema(get_urlconf(), get_script_prefix()))


@lru_cache(maxsize=32)
def _schema(_urlconf: str | None, _prefix: str) -> dict[str, Any]:
    """Return the schema, which is constant for these arguments while the process runs.

    It is in English in every language: generated clients contain its texts.
    """
    with override(None):
        return extensions.api_schema()


class ApiDocsView(LoginRequiredMixin, TemplateView):
    """A page that shows the schema."""

    template_name = "job_events_jobs/api_docs.html"

    def get_login_url(self) -> str:
        return login_url()

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(
            **kwargs,
            viewer=self.request.user,
            section="api",
            sees_monitor=sees_monitor(self.request.user),
            startable=startable_task_types(self.request.user),
            is_installed=IS_INSTALLED,
            page_config={
                "schemaUrl": api_url(self.request, "api-schema"),
                "csrfHeader": job_settings.CSRF_HEADER,
                "strings": docs_page_strings(),
            },
        )
