"""Projects with a package `events` or `jobs` that precedes the installed one on sys.path."""

from pathlib import Path

import pytest

from tests.integration.packaging.conftest import Environment, write

pytestmark = [pytest.mark.extended, pytest.mark.timeout(300)]

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
def test_project_package_events_raises(project: Project, apps: str) -> None:
    project.add("events", apps=apps)
    error = project.execute("-m", "django", "check").splitlines()[-1]
    assert error.startswith("django.core.exceptions.ImproperlyConfigured: The app `jobs`")
    assert f" {project.environment.packages / 'events'}," in error
    assert f" {project.directory / 'events'}." in error


def test_project_module_events_raises(project: Project) -> None:
    project.add()
    (project.directory / "events.py").touch()
    error = project.execute("-m", "django", "check").splitlines()[-1]
    assert "ImproperlyConfigured: The app `jobs`" in error
    assert f" {project.directory / 'events.py'}." in error


@pytest.mark.parametrize("apps", ['"events", "jobs"', '"jobs", "events"', '"events", "jobs.x.Y"'])
def test_project_package_jobs_raises(project: Project, apps: str) -> None:
    project.add("jobs", apps=apps)
    error = project.execute("-m", "django", "check").splitlines()[-1]
    assert error.startswith("django.core.exceptions.ImproperlyConfigured: `jobs` in INSTALLED_APPS")
    assert f" {project.directory / 'jobs'}," in error
    assert f" {project.environment.packages / 'jobs'} " in error


@pytest.mark.parametrize(
    ("apps", "more"),
    [('"events"', ""), ('"jobs", "events"', '"LOG_ONLY": True')],
)
def test_events_app_with_a_project_package_jobs(project: Project, apps: str, more: str) -> None:
    project.add("jobs", apps=apps, more=more)
    if more:
        project.execute("-m", "django", "makemigrations", "jobs")
        assert project.execute("publish.py").splitlines()[-1] == "0"
    else:
        assert "no issues" in project.execute("-m", "django", "check")


def test_project_packages_events_and_jobs(project: Project) -> None:
    """The installed packages are not imported; the documentation shows the error."""
    project.add("events", "jobs")
    assert "no issues" in project.execute("-m", "django", "check")
    error = project.execute("publish.py").splitlines()[-1]
    assert error == "ModuleNotFoundError: No module named 'events.publisher'"


def test_data_folder_does_not_shadow_the_package(project: Project) -> None:
    """A folder without `__init__.py` is a namespace package, which regular packages precede."""
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
PLUGIN_TESTS = """
def test_it(job_events):
    job_events.publisher.publish_event("abc", {"event_type": "hello"})
    job_events.assert_events("abc", ["hello"])
"""


def run_pytest(project: Project) -> str:
    # Plugins of the tests of this repository, which are in the environment.
    names = (
        "langsmith_plugin", "schemathesis", "hypothesispytest", "randomly", "timeout", "anyio",
        "asyncio",
    )  # fmt: skip
    options = [word for name in names for word in ("-p", f"no:{name}")]
    return project.execute("-m", "pytest", "-q", *options)


def test_pytest_with_a_project_package_events(project: Project) -> None:
    project.add("events", apps='"events"')
    write(project.directory, {"test_it.py": TESTS.format(directory=str(project.directory))})
    assert run_pytest(project).splitlines()[-1].startswith("1 passed")


def test_pytest_with_the_plugin(project: Project) -> None:
    project.add()
    plugins = 'pytest_plugins = ["events.testing.pytest_plugin"]'
    write(project.directory, {"conftest.py": plugins, "test_it.py": PLUGIN_TESTS})
    assert run_pytest(project).splitlines()[-1].startswith("1 passed")
