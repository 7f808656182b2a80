"""Template tags that show a job in the pages of a project: `{% load job_events %}`."""

import json
from typing import Any

from django import template
from django.forms.utils import flatatt
from django.template import Context
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from events.types import check_job_id
from jobs.models import Job
from jobs.pages.element_strings import element_strings, timeline_labels
from jobs.pages.views import socket_url

register = template.Library()


@register.simple_tag(takes_context=True)
def job_progress(context: Context, job: Job | str, **attributes: Any) -> SafeString:
    """Return `<job-progress>` for a job or job_id: its status, progress and figures, live."""
    return _element("job-progress", context, job, element_strings(), attributes)


@register.simple_tag(takes_context=True)
def job_timeline(context: Context, job: Job | str, **attributes: Any) -> SafeString:
    """Return `<job-timeline>` for a job or job_id: its steps and their times, live.

    `height`, a length of CSS, or `limit`, a number of rows, gives it a scroller of its own.
    """
    return _element("job-timeline", context, job, timeline_labels(), attributes)


def _element(
    name: str, context: Context, job: Job | str, labels: dict[str, str], attributes: dict[str, Any]
) -> SafeString:
    """Return the element with its script; a browser loads the script once."""
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    values = {
        "job-id": check_job_id(getattr(job, "job_id", job)),
        "base-url": reverse("job_events:api-job-list"),
        # Without sockets the element uses SSE or polling.
        "socket-url": socket_url("ws/jobs/") or "",
        "time-zone": timezone.get_current_timezone_name(),
        "labels": json.dumps(labels, ensure_ascii=False),
        **given,
    }
    script = {"type": "module", "src": static("job_events/job-elements.js"), **_nonce(context)}
    shown = {key: value for key, value in values.items() if value is not None}
    return format_html("<{0}{1}></{0}><script{2}></script>", name, flatatt(shown), flatatt(script))


def _nonce(context: Context) -> dict[str, str]:
    """Return the nonce of the Content-Security-Policy, from Django 6 or from django-csp."""
    nonce = context.get("csp_nonce") or getattr(context.get("request"), "csp_nonce", None)
    return {"nonce": str(nonce)} if nonce else {}
