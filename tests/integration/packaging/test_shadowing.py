"""Projects whose own package `events` or `jobs` precedes ours on sys.path."""

from pathlib import Path

import pytest

from tests.integration.packaging.conftest import Environment, write

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(300)]

SETTINGS = """
import os
SECRET_KEY = "x" * 50
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", {apps}]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}}}
JOB_EVENTS = {{"REDIS_URL": os.environ["REDIS_URL"], {more}}}
"""
MODELS = """
from django.db import models
class {name}(models.Model):
    pass
"""
PACKAGES = {"events": {"events/models.py": MODELS.format(name="EventLog")},
            "jobs": {"jobs/models.py": MODELS.format(name="Job")}}  # fmt: skip
PUBLISH = """
import django
django.setup()
from django.core.management import call_command
from events.publisher import get_publisher
call_command("check")
call_command("migrate", verbosity=0)
get_publisher().publish_event("abc", {"event_type": "hello"})
call_command("process_events", "--once")
from jobs.models import Job
print(Job.objects.count())
"""


class Project:
    def __init__(self, environment: Environment, directory: Path, redis_url: str) -> None:
        self.environment = environment
        self.directory = directory
        self.variables = {"DJANGO_SETTINGS_MODULE": "settings", "REDIS_URL": redis_url}

    def add(self, *packages: str, apps: str = '"events", "jobs"', more: str = "") -> None:
        files = {"settings.py": SETTINGS.format(apps=apps, more=more), "publish.py": PUBLISH}
        for package in packages:
            files |= PACKAGES[package]
        write(self.directory, files)

    def execute(self, *arguments: str) -> str:
        return self.environment.execute(self.directory, *arguments, **self.variables)


@pytest.fixture
def project(environment: Environment, tmp_path: Path, redis_url: str) -> Project:
    return Project(environment, tmp_path, redis_url)


@pytest.mark.parametrize("apps", ['"events", "jobs"', '"jobs", "events"', '"jobs.apps.JobsConfig"'])
def test_own_events(project: Project, apps: str) -> None:
    project.add("events", apps=apps)
    error = project.execute("-m", "django", "check").splitlines()[-1]
    assert error.startswith("django.core.exceptions.ImproperlyConfigured: The app `jobs`")
    assert f" {project.environment.packages / 'events'}," in error
    assert f" {project.directory / 'events'}." in error


def test_own_module_events(project: Project) -> None:
    project.add()
    (project.directory / "events.py").touch()
    error = project.execute("-m", "django", "check").splitlines()[-1]
    assert "ImproperlyConfigured: The app `jobs`" in error
    assert f" {project.directory / 'events.py'}." in error


@pytest.mark.parametrize("apps", ['"events", "jobs"', '"jobs", "events"', '"events", "jobs.x.Y"'])
def test_own_jobs(project: Project, apps: str) -> None:
    project.add("jobs", apps=apps)
    error = project.execute("-m", "django", "check").splitlines()[-1]
    assert error.startswith("django.core.exceptions.ImproperlyConfigured: `jobs` in INSTALLED_APPS")
    assert f" {project.directory / 'jobs'}," in error
    assert f" {project.environment.packages / 'jobs'} " in error


@pytest.mark.parametrize(
    ("apps", "more"),
    [('"events"', ""), ('"jobs", "events"', '"LOG_ONLY": True')],
)
def test_log_beside_own_jobs(project: Project, apps: str, more: str) -> None:
    project.add("jobs", apps=apps, more=more)
    if more:
        project.execute("-m", "django", "makemigrations", "jobs")
        assert project.execute("publish.py").splitlines()[-1] == "0"
    else:
        assert "no issues" in project.execute("-m", "django", "check")


def test_both_own(project: Project) -> None:
    """Neither of ours is imported, so neither can raise; the documentation shows this error."""
    project.add("events", "jobs")
    assert "no issues" in project.execute("-m", "django", "check")
    error = project.execute("publish.py").splitlines()[-1]
    assert error == "ModuleNotFoundError: No module named 'events.publisher'"


def test_data_folder_hides_nothing(project: Project) -> None:
    """A folder without `__init__.py` is a namespace package; ours precedes it."""
    for name in ("events", "jobs"):
        (project.directory / name).mkdir(parents=True)
    project.add()
    assert project.execute("publish.py").splitlines()[-1] == "0"


# pytest

TESTS = """
def test_it():
    import events.models
    assert events.__file__.startswith({directory!r})
"""
OPTED_IN = """
def test_it(job_events):
    job_events.publisher.publish_event("abc", {"event_type": "hello"})
    job_events.assert_events("abc", ["hello"])
"""


def run_pytest(project: Project) -> str:
    # Plugins of our own tests, which the environment has besides.
    names = (
        "langsmith_plugin", "schemathesis", "hypothesispytest", "randomly", "timeout", "anyio",
        "asyncio",
    )  # fmt: skip
    options = [word for name in names for word in ("-p", f"no:{name}")]
    return project.execute("-m", "pytest", "-q", *options)


def test_pytest_with_own_events(project: Project) -> None:
    project.add("events", apps='"events"')
    write(project.directory, {"test_it.py": TESTS.format(directory=str(project.directory))})
    assert run_pytest(project).splitlines()[-1].startswith("1 passed")


def test_pytest_with_the_plugin(project: Project) -> None:
    project.add()
    plugins = 'pytest_plugins = ["events.testing.pytest_plugin"]'
    write(project.directory, {"conftest.py": plugins, "test_it.py": OPTED_IN})
    assert run_pytest(project).splitlines()[-1].startswith("1 passed")
