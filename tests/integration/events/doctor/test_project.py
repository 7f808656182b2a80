"""Findings about the project: system checks, the ASGI application, static files."""

import shutil
import sys
from types import ModuleType

import pytest
from django.apps import apps
from django.core.asgi import get_asgi_application
from django.core.management import call_command

from events.doctor.project import static_sources
from tests.integration.events.doctor.conftest import find

pytestmark = pytest.mark.django_db


def test_system_checks(settings):
    assert find("system-checks").state == "ok"
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "NO_SUCH_KEY": 1}
    finding = find("system-checks")
    assert (finding.state, "job_events.W001" in finding.seen) == ("warning", True)
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "PAGE_LIMIT": 0}
    finding = find("system-checks")
    assert (finding.state, "job_events.E006" in finding.seen) == ("error", True)
    settings.SILENCED_SYSTEM_CHECKS = ["job_events.W001", "job_events.E006"]
    assert find("system-checks").state == "ok"


@pytest.fixture
def module(monkeypatch):
    module = ModuleType("doctored")
    monkeypatch.setitem(sys.modules, "doctored", module)
    return module


def test_asgi_application(settings, module):
    assert find("asgi-application").state == "ok"
    settings.ASGI_APPLICATION = "doctored.application"
    finding = find("asgi-application")
    assert (finding.state, "WSGI" in finding.seen) == ("warning", True)
    module.application = get_asgi_application()
    finding = find("asgi-application")
    assert finding.state == "warning"
    assert finding.seen == (
        "doctored.application has no DetachedStreamingMiddleware and no routes of sockets."
    )


def test_application_of_a_project_without_the_setting(settings, module, monkeypatch):
    package = ModuleType("mysite")
    monkeypatch.setitem(sys.modules, "mysite", package)
    monkeypatch.setitem(sys.modules, "mysite.asgi", module)
    package.asgi = module
    settings.ASGI_APPLICATION = None
    settings.ROOT_URLCONF = "mysite.urls"
    module.application = get_asgi_application()
    assert find("asgi-application").seen.startswith("mysite.asgi.application ")


@pytest.mark.parametrize("urlconf", ["urls", None])
def test_application_of_a_project_without_a_package(settings, module, monkeypatch, urlconf):
    monkeypatch.setitem(sys.modules, "asgi", module)
    settings.ASGI_APPLICATION = None
    settings.ROOT_URLCONF = urlconf
    if urlconf is None:
        del settings.ROOT_URLCONF
    module.application = get_asgi_application()
    assert find("asgi-application").seen.startswith("asgi.application has ")
    settings.ASGI_APPLICATION = "doctored.application"
    assert find("asgi-application").seen.startswith("doctored.application has ")


@pytest.fixture
def static_root(settings, tmp_path):
    settings.DEBUG = False
    settings.STATIC_ROOT = tmp_path / "static"
    return settings.STATIC_ROOT


def test_static_files(settings, static_root):
    finding = find("static-files")
    assert (finding.state, "Not collected" in finding.seen) == ("error", True)
    call_command("collectstatic", "--no-input", verbosity=0)
    assert find("static-files").state == "ok"
    (static_root / "job_events" / "job-events.js").write_text("// an older version")
    finding = find("static-files")
    assert (finding.state, "1 of " in finding.seen) == ("error", True)
    shutil.rmtree(static_root)


def test_static_files_without_a_folder(settings, static_root):
    settings.STATIC_ROOT = None
    assert find("static-files").state == "error"


def test_static_files_of_the_development_server(settings):
    settings.DEBUG = True
    assert find("static-files").state == "ok"
    settings.STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    finding = find("static-files")
    assert (finding.state, finding.seen) == ("error", f"No finder has {next(static_sources())[0]}.")


def test_project_without_staticfiles(monkeypatch):
    monkeypatch.setattr(apps, "is_installed", lambda _name: False)
    assert find("static-files").state == "warning"
