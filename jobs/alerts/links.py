"""Links in alert messages: absolute with the setting SITE_URL, otherwise paths."""

from django.urls import NoReverseMatch, reverse

from jobs.conf import has_routes, job_settings
from jobs.models import Job


def job_link(job_id: str) -> str:
    """Return the URL of the page of a job; empty if the project does not include the pages."""
    return _absolute(Job(job_id=job_id).page_url)


def monitor_link() -> str:
    """Return the URL of the monitor; empty if the project does not include the pages."""
    if not has_routes():
        return ""
    try:
        return _absolute(reverse("job_events:monitor"))
    except NoReverseMatch:
        return ""


def _absolute(path: str | None) -> str:
    return f"{job_settings.SITE_URL.rstrip('/')}{path}" if path else ""
