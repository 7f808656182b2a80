"""Chromium with a logged-in user."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from playwright.sync_api import expect

from events.publisher import SyncRedisStreamPublisher
from tests.browser.support import log_in
from tests.support.chromium import CHROMIUM, chromium
from tests.support.need import need
from tests.support.showcase import Showcase
from tests.support.showcase_pages import paths_of
from tests.support.site import Site

ARGUMENTS = (
    # A page whose response is mocked has no address, and its requests to localhost are blocked.
    "--disable-features=LocalNetworkAccessChecks",
    # A host that is not localhost, at which plain HTTP is an insecure context.
    "--host-resolver-rules=MAP intranet.test 127.0.0.1",
)
TIMEOUT_MS = 20_000
expect.set_options(timeout=TIMEOUT_MS)
# Tests cause error responses on purpose, which Chromium logs to the console.
EXPECTED = ("Failed to load resource",)


@pytest.fixture
def _close_async_redis() -> None:
    """Disable the async fixture: the sync API of Playwright runs a loop in this thread."""


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest) -> Iterator[Any]:
    need(request, CHROMIUM, "a Chromium (Debian's package chromium-headless-shell)")
    with chromium(*ARGUMENTS) as browser:
        yield browser


@pytest.fixture(scope="module")
def logged_in(browser: Any, site: Site) -> Any:
    """Log in as demo once; return the storage state."""
    context = browser.new_context(base_url=site.url, locale="en-GB")
    page = context.new_page()
    page.goto("/jobs/")
    log_in(page)
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def context(browser: Any, site: Site, logged_in: Any) -> Iterator[Any]:
    """A browser context of demo. An error in a script or on the console fails the test."""
    context = browser.new_context(base_url=site.url, locale="en-GB", storage_state=logged_in)
    problems: list[str] = []
    context.on("weberror", lambda error: problems.append(str(error.error)))
    context.on(
        "console", lambda entry: problems.append(entry.text) if entry.type == "error" else None
    )
    context.problems_expected = [*EXPECTED]  # tests may append to it
    yield context
    for page in context.pages:
        page.unroute_all(behavior="ignoreErrors")  # a route may still be fetching
    context.close()
    expected = tuple(context.problems_expected)
    assert [text for text in problems if not text.startswith(expected)] == []


@pytest.fixture(scope="session")
def showcase(session_tmp: Path) -> Iterator[Showcase]:
    """A site with real logs of each kind of producer."""
    directory = session_tmp / "showcase"
    directory.mkdir()
    site = Showcase(directory)
    try:
        site.start()
        site.run_jobs()
        yield site
    finally:
        site.stop()


@pytest.fixture(scope="session")
def _history(showcase: Showcase) -> None:
    """An hour of ordinary jobs, and an alert."""
    showcase.add_history()


@pytest.fixture(scope="session")
def paths(showcase: Showcase) -> dict[str, str]:
    """The paths of the pages of the showcase."""
    return paths_of(showcase)


@pytest.fixture
def page(context: Any) -> Any:
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    return page


@pytest.fixture
def publisher(site: Site) -> Iterator[SyncRedisStreamPublisher]:
    """A publisher to the jobs of the site."""
    client = redis.Redis.from_url(site.redis.url)
    yield SyncRedisStreamPublisher(client)
    client.close()


@pytest.fixture
def job_id(site: Site) -> str:
    """A job of demo without a worker: the test publishes its events. It has a result template."""
    return created_job(site, "by_hand")


@pytest.fixture
def plain_job_id(site: Site) -> str:
    """A job without a runner and a result template."""
    return created_job(site, "plain")


def created_job(site: Site, task_type: str) -> str:
    with site.client() as client:
        response = client.post("/api/jobs/", json={"task_type": task_type, "title": "By hand"})
    response.raise_for_status()
    return str(response.json()["job_id"])
