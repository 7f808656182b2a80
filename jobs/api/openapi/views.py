"""The schema of the API, and the page that shows it; both need the extra `openapi`."""

from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Final

from django.apps import apps
from django.http import HttpRequest, HttpResponse
from django.urls import get_script_prefix, get_urlconf, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import get_language
from django.views.decorators.http import conditional_page
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.api.base import JobsAPIView
from jobs.conf import job_settings
from jobs.pages.base import PageView

_IS_INSTALLED: Final = find_spec("drf_spectacular") is not None

if _IS_INSTALLED:
    from jobs.api.openapi import generator

    generator.describe()


class NeedsOpenAPI(APIException):
    """The extra is not installed."""

    status_code = status.HTTP_501_NOT_IMPLEMENTED
    default_code = "needs_openapi"
    default_detail = "The schema needs drf-spectacular: pip install 'django-job-events[openapi]'."


class SchemaView(JobsAPIView):
    """The schema of the API (OpenAPI 3)."""

    schema = None  # it is not part of itself

    @method_decorator(conditional_page)
    def get(self, request: Request) -> Response:
        """Answer the schema, as JSON."""
        if not _IS_INSTALLED:
            raise NeedsOpenAPI
        return Response(_schema(get_urlconf(), get_script_prefix(), get_language()))


@lru_cache(maxsize=32)
def _schema(_urlconf: str | None, _prefix: str, _language: str) -> dict[str, Any]:
    """The schema, which for all of these is the same as long as the process lives."""
    return generator.schema()


class ApiDocsView(PageView):
    """The API to read and to try, by Swagger UI; its files are those of drf-spectacular-sidecar."""

    section = "api"

    def get(self, request: HttpRequest) -> HttpResponse:
        """The page; without the extra, it says what is missing."""
        context = {
            "is_installed": _IS_INSTALLED and apps.is_installed("drf_spectacular_sidecar"),
            "page_config": {
                "schemaUrl": reverse("job_events:api-schema"),
                "csrfHeader": job_settings.CSRF_HEADER,
            },
        }
        return self.page("job_events_jobs/api_docs.html", context)
