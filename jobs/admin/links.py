"""Links of the page "Health"."""

from django.http import HttpRequest
from django.utils.translation import gettext as _

from jobs.conf import optional_route
from jobs.selectors import sees_monitor, user_of


def monitor_page(request: HttpRequest) -> tuple[str, str] | None:
    """Return the URL and text of a link to the monitor, if the user may see it."""
    url = optional_route("job_events:monitor")
    if url is None or not sees_monitor(user_of(request)):
        return None
    return url, _("Monitor: charts, stuck jobs, workers and alerts")
