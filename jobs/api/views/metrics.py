"""View of the metrics."""

import logging
from hmac import compare_digest
from typing import Any, Final

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from events.error_text import ErrorText
from events.live.rejection import NO_STORE
from events.log_format import log_failure
from events.metrics import is_available, render
from jobs.api.base import AnyNegotiation, JobsAPIView
from jobs.api.problem_details import Problem
from jobs.conf import job_settings
from jobs.selectors import sees_monitor

logger = logging.getLogger(__name__)

_NOT_INSTALLED: Final = ErrorText(
    "Metrics need prometheus_client: pip install 'django-job-events[metrics]'."
)
_NOT_READABLE: Final = ErrorText("The files in PROMETHEUS_MULTIPROC_DIR cannot be read or written.")


def has_token(request: Request) -> bool:
    """Return whether a request has the bearer token METRICS_TOKEN."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    expected = job_settings.METRICS_TOKEN
    is_equal = compare_digest(token.strip().encode(), expected.encode())
    return bool(expected) and scheme.lower() == "bearer" and is_equal


class _MayRead(BasePermission):
    def has_permission(self, request: Request, view: APIView) -> bool:
        return has_token(request) or sees_monitor(request.user)


class MetricsView(JobsAPIView):
    """The metrics of the processes of this server, and those from the database and Redis."""

    schema = None  # its format is that of Prometheus
    cache_control = NO_STORE
    content_negotiation_class = AnyNegotiation
    permission_classes: Any = (_MayRead,)

    def perform_authentication(self, request: Request) -> None:
        """Query no user for a request with the token: the database may be unavailable."""
        if not has_token(request):
            super().perform_authentication(request)

    def get(self, request: Request) -> HttpResponseBase:
        """Return OpenMetrics or the text format of Prometheus, by the Accept header."""
        if not is_available():
            raise Problem("needs-metrics", _NOT_INSTALLED)
        try:
            body, content_type = render(request.headers.get("Accept", ""))
        except OSError as error:
            log_failure(logger, "metrics_not_read", error)
            raise Problem("unavailable", _NOT_READABLE) from error
        return HttpResponse(body, content_type=content_type)
