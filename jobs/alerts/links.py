"""Links in alert messages: absolute with the setting SITE_URL, otherwise paths."""

from jobs.conf import job_settings, optional_route
from jobs.models import Job


def job_link(job_id: str) -> str:
    """Return the URL of the page of a job; empty if the project does not include the pages."""
    return _absolute(Job(job_id=job_id).page_url)


def monitor_link() -> str:
    """Return the URL of the monitor; empty if the project does not include the pages."""
    return _absolute(optional_route("job_events:monitor"))


def _absolute(path: str | None) -> str:
    return f"{job_settings.SITE_URL.rstrip('/')}{path}" if path else ""
