"""Base class of the pages."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.views.generic import View

from events.processor import is_running
from jobs.access.login import login_url
from jobs.models import Job
from jobs.selectors import startable_task_types, visible_jobs


class PageView(LoginRequiredMixin, View):
    """A page for users who are logged in."""

    section = ""

    def get_login_url(self) -> str:
        """Return the address that anonymous users are redirected to."""
        return login_url()

    def page(
        self, template: str, context: dict[str, Any] | None = None, status: int = 200
    ) -> HttpResponse:
        """Render a template with the context of all pages."""
        user = self.request.user
        base = {
            "viewer": user,
            "section": self.section,
            "startable": startable_task_types(user),
        }
        html = render_to_string(template, {**base, **(context or {})}, self.request)
        # JSON of a payload may contain lone surrogates, which UTF-8 cannot encode.
        return HttpResponse(html.encode("utf-8", "replace"), status=status)

    def processing_stopped(self) -> bool:
        """Return whether to show staff that `process_events` is not running."""
        return getattr(self.request.user, "is_staff", False) and not is_running()

    def visible_job(self, job_id: str) -> Job:
        """Return a job. Raises Http404 if it does not exist or the user may not see it."""
        return get_object_or_404(visible_jobs(self.request.user), job_id=job_id)
