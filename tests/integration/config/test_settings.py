"""The site starts with a secret key only, without DEBUG, and shows no passwords."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config.error_reports import RedactingFilter
from tests.support.site import ROOT, free_port

COMMANDS = {
    "web server": "-m uvicorn config.asgi:application --port {port}",
    "web server, WSGI": "-m gunicorn config.wsgi --bind 127.0.0.1:{port}",
    "development server": "manage.py runserver --noreload {port}",
    "worker": "-m celery -A config worker",
    "event processor": "manage.py process_events",
    "demo by hand": "manage.py demo --port {port}",
}
SHOW = "from config import settings as s; print(s.DEBUG, s.IS_LOCAL, s.SECRET_KEY)"


def run(directory: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python without the variables of the test run."""
    own = ("DJANGO", "JOB_EVENTS", "REDIS_URL", "DATABASE_URL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**kept, "LOCAL_DIR": str(directory), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_but_the_demo_starts_without_a_key(tmp_path: Path, name: str) -> None:
    arguments = COMMANDS[name].format(port=free_port()).split()
    for debug in ("0", "1"):
        done = run(tmp_path, *arguments, DJANGO_DEBUG=debug, DJANGO_ALLOWED_HOSTS="")
        assert done.returncode != 0
        assert "Set DJANGO_SECRET_KEY" in f"{done.stdout}{done.stderr}"
    assert not (tmp_path / "secret_key").exists()


def test_debug_is_off_by_default(tmp_path: Path) -> None:
    assert run(tmp_path, "-c", SHOW, DJANGO_SECRET_KEY="k").stdout == "False False k\n"
    debug = run(tmp_path, "-c", SHOW, DJANGO_SECRET_KEY="k", DJANGO_DEBUG="1")
    assert debug.stdout == "True True k\n"


def test_demo_has_a_random_key_of_its_own(tmp_path: Path) -> None:
    first = run(tmp_path / "a", "-c", SHOW, JOB_EVENTS_DEMO="1").stdout
    assert run(tmp_path / "a", "-c", SHOW, JOB_EVENTS_DEMO="1").stdout == first
    assert run(tmp_path / "b", "-c", SHOW, JOB_EVENTS_DEMO="1").stdout != first
    assert first.startswith("False True ")
    assert len(first.split()[2]) >= 50
    assert stat.S_IMODE((tmp_path / "a" / "secret_key").stat().st_mode) == 0o600


def test_error_of_an_invalid_database_url_contains_no_password(tmp_path: Path) -> None:
    for url in ("postgres://u:hun/ter2@h:1/db", "nosql://u:hunter2@h/db", "u:hunter2@h"):
        done = run(tmp_path, "-c", SHOW, DJANGO_SECRET_KEY="k", DATABASE_URL=url)
        assert done.returncode == 1
        assert "ter2" not in done.stderr.replace(SHOW, "")


def test_error_reports_contain_no_password(settings: Any) -> None:
    settings.REDIS_URL = "redis://:hunter2@cache:6379/0"
    settings.CHANNEL_LAYERS = {"default": {"CONFIG": {"hosts": [{"address": settings.REDIS_URL}]}}}
    shown = RedactingFilter().get_safe_settings()
    assert shown["REDIS_URL"] == "redis://[redacted]@cache:6379/0"
    assert "hunter2" not in str(shown)
    assert settings.DEFAULT_EXCEPTION_REPORTER_FILTER == "config.error_reports.RedactingFilter"
