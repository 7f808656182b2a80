"""Links of the page "Health"."""

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from jobs.conf import has_routes
from jobs.selectors import sees_monitor, user_of


def monitor_page(request: HttpRequest) -> tuple[str, str] | None:
    """Return the URL and text of a link to the monitor, if the user may see it."""
    if not has_routes() or not sees_monitor(user_of(request)):
        return None
    try:
        return reverse("job_events:monitor"), _("Monitor: charts, stuck jobs, workers and alerts")
    except NoReverseMatch:
        return None
