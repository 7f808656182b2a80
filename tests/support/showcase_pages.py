"""The pages of a `Showcase` in Chromium."""

from contextlib import closing
from typing import Any

from tests.support.showcase import Showcase

LOGIN = "/jobs/login/"
# Paths by name; the fields are the kinds of jobs.
PAGES = {
    "list": "/jobs/?range=1h",
    "new": "/jobs/new/",
    "agent": "/jobs/job/{agent}/",
    "agent-conversation": "/jobs/job/{agent}/?tab=conversation",
    "agent-events": "/jobs/job/{agent}/?tab=events",
    "agent-input": "/jobs/job/{agent}/?tab=input",
    "completed": "/jobs/job/{completed}/",
    "completed-result": "/jobs/job/{completed}/?tab=result",
    "chain": "/jobs/job/{chain}/",
    "chain-events": "/jobs/job/{chain}/?tab=events",
    "thread": "/jobs/job/{thread}/",
    "thread-events": "/jobs/job/{thread}/?tab=events",
    "foreign": "/jobs/job/{foreign}/",
    "foreign-events": "/jobs/job/{foreign}/?tab=events",
    "question": "/jobs/job/{waiting}/",
    "running": "/jobs/job/{running}/",
    "monitor": "/jobs/monitor/?range=1h",
    "api-docs": "/api/docs/",
    "admin": "/admin/",
    "admin-app": "/admin/job_events_jobs/",
    "admin-jobs": "/admin/job_events_jobs/job/",
    "admin-job": "/admin/job_events_jobs/job/{agent_pk}/change/",
    "admin-alerts": "/admin/job_events_jobs/alert/",
    "admin-alert": "/admin/job_events_jobs/alert/1/change/",
    "admin-health": "/admin/job_events/processor/",
    "login": LOGIN,  # the last: it needs a context without cookies
}
WIDTHS = {1440: 900, 820: 1180, 390: 844}
SCHEMES = ("light", "dark")
_READY = ":root:not([data-live-state=connecting]):not([data-live-state=loading])"
_KEY = "from jobs.models import Job; print(Job.objects.get(job_id='{agent}').pk)"


def paths_of(site: Showcase) -> dict[str, str]:
    """Return the paths of all pages by name."""
    script = _KEY.format(**site.jobs)
    key = site.manage("shell", "--verbosity", "0", "-c", script).strip()
    fields = {**site.jobs, "agent_pk": key}
    return {name: path.format_map(fields) for name, path in PAGES.items()}


def new_page(browser: Any, site: Showcase, **options: Any) -> Any:
    """Return a page of a context in which demo is logged in; without animations."""
    context = browser.new_context(base_url=site.url, reduced_motion="reduce", **options)
    with closing(site.session()) as session:
        value = session.cookies["sessionid"]
    context.add_cookies([{"name": "sessionid", "value": value, "url": site.url}])
    return context.new_page()


def open_page(page: Any, path: str) -> None:
    """Open a page and wait until it shows its data. The login page logs out."""
    if path == LOGIN:
        page.context.clear_cookies()
    page.goto(path, wait_until="networkidle")
    page.wait_for_selector(_READY, state="attached")
