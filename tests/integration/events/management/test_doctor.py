"""`manage.py doctor` as a process: output, exit code, servers that are down."""

import json
import signal
from threading import Event
from typing import Any

import pytest
from django.core.management import call_command

from events.doctor.checks import Check, Examination, masked
from events.doctor.findings import error, ok, warning
from events.streams.clients import get_redis
from tests.integration.events.doctor.conftest import own_redis  # noqa: F401
from tests.integration.events.management.test_process_events import Manage, manage  # noqa: F401
from tests.support.need import need
from tests.support.nginx import extend_settings
from tests.support.postgres import BINARIES, PostgresServer, find_binary

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120, func_only=True)]


def findings_of(manage: Manage, *arguments: str) -> tuple[int, dict[str, Any]]:  # noqa: F811
    done = manage.run("doctor", "--json", *arguments)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, {each["name"]: each for each in json.loads(done.stdout)["findings"]}


def test_redis_is_down(manage):  # noqa: F811
    manage.environment["REDIS_URL"] = "redis://web:hunter22@127.0.0.1:1/0"
    done = manage.run("doctor")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "ERROR    redis-connection" in done.stdout
    assert "Connection refused" in done.stdout
    assert "hunter22" not in done.stdout + done.stderr
    code, findings = findings_of(manage)
    assert (code, findings["redis-version"]["state"]) == (1, "skipped")
    assert findings["processors"]["state"] == "error"
    assert findings["database-writes"]["state"] == "ok"


def test_wrong_password_of_redis(manage, own_redis):  # noqa: F811
    client = get_redis()
    client.execute_command("ACL", "SETUSER", "web", "on", ">correct-horse", "+@all", "~*")
    manage.environment["REDIS_URL"] = own_redis.url.replace("unix://", "unix://web:battery22@")
    _, findings = findings_of(manage)
    finding = findings["redis-connection"]
    assert finding["state"] == "error"
    assert "invalid username-password pair" in finding["seen"]
    assert "battery22" not in json.dumps(findings)


def test_redis_that_has_stopped(manage, own_redis):  # noqa: F811
    manage.environment["REDIS_URL"] = own_redis.url
    own_redis.process.send_signal(signal.SIGSTOP)
    try:
        code, findings = findings_of(manage)
    finally:
        own_redis.process.send_signal(signal.SIGCONT)
    assert code == 1
    assert findings["redis-connection"]["seen"] == "No result after 5 s."


@pytest.mark.parametrize(
    "url", ["postgres://web:hunter22@127.0.0.1:1/x", "sqlite:////nonexistent/db.sqlite3"]
)
def test_database_is_down(manage, url):  # noqa: F811
    manage.environment["DATABASE_URL"] = url
    done = manage.run("doctor")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "ERROR    database-connection" in done.stdout
    assert "hunter22" not in done.stdout + done.stderr


@pytest.fixture
def postgres(request):
    need(request, all(map(find_binary, BINARIES)), "a PostgreSQL server")
    with PostgresServer.running() as server:
        yield server


@pytest.mark.extended
def test_postgresql_that_has_stopped(manage, postgres):  # noqa: F811
    manage.environment["DATABASE_URL"] = postgres.url
    assert findings_of(manage)[1]["database-connection"]["state"] == "ok"
    with postgres.paused():
        _, findings = findings_of(manage)
    assert findings["database-connection"]["state"] == "error"
    assert findings["redis-connection"]["state"] == "ok"


def test_sqlite_of_startproject(manage, tmp_path):  # noqa: F811
    """Its settings have no OPTIONS."""
    lines = (
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3',"
        f" 'NAME': {str(tmp_path / 'plain.sqlite3')!r}, 'OPTIONS': {{'timeout': 1}}}}}}"
    )
    manage.environment |= extend_settings(tmp_path, lines)
    _, findings = findings_of(manage)
    finding = findings["database-settings"]
    assert finding["state"] == "warning"
    for word in ("journal_mode is delete", "1000 ms", "IMMEDIATE"):
        assert word in finding["seen"]
    assert findings["database-migrations"]["state"] == "error"
    assert findings["round-trip"]["state"] == "skipped"


# Options and exit codes


@pytest.fixture
def checks(monkeypatch):
    """Replace the checks."""

    def checks(**runs):
        found = tuple(Check(name, run, "Do it.") for name, run in runs.items())
        monkeypatch.setattr("events.doctor.checks.registered_checks", lambda: found)

    return checks


@pytest.mark.parametrize(
    ("finding", "options", "code"),
    [
        (ok("Fine."), {}, 0),
        (warning("Odd."), {}, 0),
        (warning("Odd."), {"strict": True}, 1),
        (error("Bad."), {}, 1),
        (error("Bad."), {"json": True}, 1),
    ],
)
def test_exit_code(checks, capsys, finding, options, code):
    checks(one=lambda _: finding)
    if code:
        with pytest.raises(SystemExit) as exit_:
            call_command("doctor", **options)
        assert exit_.value.code == code
    else:
        call_command("doctor", **options)
    assert finding.seen in capsys.readouterr().out


def test_invalid_option(manage):  # noqa: F811
    assert manage.run("doctor", "--nonsense").returncode == 2


def test_text_has_the_worst_first(checks, capsys):
    checks(one=lambda _: ok("Fine."), two=lambda _: warning("Odd.", "Wait."), three=lambda _: 1 / 0)
    with pytest.raises(SystemExit):
        call_command("doctor")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "error: 1, warning: 1, skipped: 0, ok: 1",
        "",
        "ERROR    three                 ZeroDivisionError: division by zero",
        "         Do it. See docs/operations.md#three",
        "WARNING  two                   Odd.",
        "         Wait. See docs/operations.md#two",
        "ok       one                   Fine.",
    ]


def test_json(checks, capsys):
    checks(one=lambda _: warning("Odd."))
    call_command("doctor", json=True)
    assert json.loads(capsys.readouterr().out) == {
        "healthy": True,
        "counts": {"error": 0, "warning": 1, "skipped": 0, "ok": 0},
        "findings": [
            {
                "name": "one",
                "state": "warning",
                "seen": "Odd.",
                "action": "Do it.",
                "runbook": "docs/operations.md#one",
            }
        ],
    }


def test_checks_that_need_a_failed_one_are_skipped(monkeypatch):
    found = (
        Check("one", lambda _: error("Bad."), ""),
        Check("two", lambda _: ok(""), "", ("one",)),
        Check("three", lambda _: ok(""), "", ("two",)),
        Check("four", lambda _: ok(""), ""),
    )
    monkeypatch.setattr("events.doctor.checks.registered_checks", lambda: found)
    states = [(each.name, each.state, each.seen) for each in Examination().run()]
    assert states == [
        ("one", "error", "Bad."),
        ("two", "skipped", "Needs one."),
        ("three", "skipped", "Needs two."),
        ("four", "ok", ""),
    ]


def test_check_that_hangs(monkeypatch):
    hanging = Check("one", lambda _: Event().wait(30), "Kill it.", seconds=0.1)
    monkeypatch.setattr("events.doctor.checks.registered_checks", lambda: (hanging,))
    (finding,) = Examination().run()
    assert (finding.state, finding.seen, finding.action) == (
        "error", "No result after 0 s.", "Kill it.",
    )  # fmt: skip


def test_secrets_are_masked(settings, monkeypatch):
    settings.JOB_EVENTS = {"REDIS_URL": "redis://u:hunter%2122@h/0"}
    monkeypatch.setitem(settings.DATABASES["default"], "PASSWORD", "swordfish")
    text = f"hunter%2122 hunter!22 swordfish {settings.SECRET_KEY} redis://a:b22222@c"
    shown = masked(text)
    for secret in ("hunter", "swordfish", settings.SECRET_KEY, "b22222"):
        assert secret not in shown
