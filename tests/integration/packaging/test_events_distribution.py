"""PyPI's distribution `Events`, which also installs a package `events`."""

from pathlib import Path

import pytest

from tests.integration.packaging.conftest import Environment, write

pytestmark = [pytest.mark.extended, pytest.mark.timeout(300)]

PROJECT = {
    "settings.py": """
import os
SECRET_KEY = "x" * 50
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "events", "jobs",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
JOB_EVENTS = {"REDIS_URL": os.environ["REDIS_URL"]}
""",
    "use_log.py": """
import django
django.setup()
from django.core.management import call_command
from events.history import read_events
from events.publisher import get_publisher
from jobs import services
call_command("check")
call_command("migrate", verbosity=0)
job = services.job_create(task_type="report")
get_publisher().publish_event(job.job_id, {"event_type": "hello"})
call_command("process_events", "--once")
print(*[event.event_type for event in read_events(job.job_id)])
""",
    "use_events.py": """
from events import Events, EventsException

received = []
events = Events(("on_change",))
events.on_change += received.append
events.on_change("hello")
print(*received)
try:
    events.on_other
except EventsException:
    print("raises")

from opensearchpy.metrics import MetricsEvents
MetricsEvents().request_start()
""",
    "missing_events.py": """
try:
    from events import Events
except ImportError as error:
    print(error)
import events
print(hasattr(events, "Events"))
""",
}


class Project:
    def __init__(self, environment: Environment, directory: Path, redis_url: str) -> None:
        self.environment = environment
        self.directory = write(directory, PROJECT)
        self.variables = {"DJANGO_SETTINGS_MODULE": "settings", "REDIS_URL": redis_url}

    def execute(self, script: str) -> list[str]:
        return self.environment.execute(self.directory, script, **self.variables).splitlines()

    def check_log(self) -> None:
        assert self.execute("use_log.py")[-1] == "job_created hello"

    def check_events_distribution(self) -> None:
        assert self.execute("use_events.py") == ["hello", "raises"]


@pytest.fixture
def project(tmp_path: Path, redis_url: str) -> Project:
    return Project(Environment(tmp_path / "environment"), tmp_path / "project", redis_url)


@pytest.mark.parametrize("package_first", [True, False])
def test_both_distributions_in_either_order(
    project: Project, wheel: Path, package_first: bool
) -> None:
    distributions = ("Events", "opensearch-py")
    for requirements in ((wheel,), distributions) if package_first else (distributions, (wheel,)):
        project.environment.install(*requirements)
    initial = (project.environment.packages / "events" / "__init__.py").read_text()
    assert ("from .events import" in initial) is package_first
    project.check_events_distribution()
    project.check_log()

    # pip removes the shared `__init__`. Our package works without it, `Events` does not.
    if package_first:
        project.environment.pip("uninstall", "--yes", "django-job-events")
        assert "cannot import name 'Events'" in project.execute("use_events.py")[-1]
        project.environment.install("--force-reinstall", "Events")
        project.check_events_distribution()
    else:
        project.environment.pip("uninstall", "--yes", "opensearch-py", "Events")
        project.check_log()


def test_package_has_no_names_of_the_distribution(environment, tmp_path) -> None:
    lines = environment.execute(write(tmp_path, PROJECT), "missing_events.py").splitlines()
    assert lines[0].startswith("cannot import name 'Events' from 'events'")
    assert lines[1:] == ["False"]
