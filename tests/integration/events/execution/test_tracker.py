"""The registry of the run tracker."""

import subprocess
import sys

from events.execution import tracker
from events.execution.stream_tracker import StreamRunTracker
from events.execution.tracker import run_tracker
from jobs.execution.tracker import JobRunTracker
from tests.support.site import ROOT

SCRIPT = """
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=[
        "jobs", "events", "django.contrib.auth", "django.contrib.contenttypes", "rest_framework"
    ],
    SECRET_KEY="x" * 50,
)
django.setup()
from events.execution import run_tracker
print(type(run_tracker()).__name__)
"""


def test_jobs_registers_its_tracker():
    assert isinstance(run_tracker(), JobRunTracker)


def test_default(monkeypatch):
    monkeypatch.setattr(tracker.registry, "tracker", None)
    assert isinstance(run_tracker(), StreamRunTracker)
    assert run_tracker() is run_tracker()


def test_order_of_installed_apps_does_not_matter():
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "JobRunTracker"
