"""`manage.py watch_job`."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from events.history import read_events
from events.publisher import get_publisher
from jobs import services
from tests.support.site import ROOT, Site

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def job(user, make_job):
    job = make_job("running", owner=user, job_id="abc")
    get_publisher().publish_task_progress("abc", "manual", 40, message="Reading \x1b[31mred\n<b>")
    return job


def run_command(*arguments):
    """Return the output and the exit code."""
    out = StringIO()
    try:
        call_command("watch_job", *arguments, stdout=out)
    except SystemExit as end:
        return out.getvalue(), end.code
    return out.getvalue(), 0


def complete():
    services.job_complete(job_id="abc")
    connection.close()


def test_log_is_followed_to_its_end(job):
    later = threading.Timer(0.3, complete)
    later.start()
    text, code = run_command("abc")
    later.join()
    lines = text.splitlines()
    assert code == 0
    assert len(lines) == len(read_events("abc"))
    assert "job_created" in lines[0]
    assert "task_completed" in lines[-1]
    assert "Reading \N{REPLACEMENT CHARACTER}[31mred <b>" in lines[2]


@pytest.mark.parametrize("end", [services.job_fail, services.job_cancel])
def test_exit_code_of_a_failed_or_cancelled_job(job, end):
    end(job_id="abc", **({"error": "boom"} if end is services.job_fail else {}))
    assert run_command("abc")[1] == 1


def test_after_a_cursor_and_as_json(job):
    services.job_cancel(job_id="abc")
    events = read_events("abc")
    text, _ = run_command("abc", "--after", events[1].id, "--json")
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["id"] for line in lines] == [event.id for event in events[2:]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing"], "There is no job missing."),
        (["a/b"], "job_id"),
        (["abc", "--after", "$"], "cursor"),
    ],
)
def test_invalid_arguments(job, arguments, words):
    with pytest.raises(CommandError, match=words):
        run_command(*arguments)


def test_log_without_a_job(db):
    get_publisher().publish_event("of-a-worker", {"event_type": "x", "timestamp": "2026-01-01"})
    text, code = run_command("of-a-worker")
    assert (len(text.splitlines()), code) == (1, 0)


def test_progress_bar_and_an_interrupt_in_a_terminal(site: Site):
    with site.client() as client:
        job_id = client.post("/api/jobs/", json={"task_type": "manual"}).json()["job_id"]
    terminal, child_terminal = pty.openpty()
    command = [sys.executable, "manage.py", "watch_job", job_id]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=site.environment,
        stdout=child_terminal,
        stderr=child_terminal,
        start_new_session=True,
        # A shell that runs the tests in the background ignores SIGINT in its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no lock
    )
    os.close(child_terminal)
    output = b""
    while b" 0 %" not in output:
        output += os.read(terminal, 1000)
    process.send_signal(signal.SIGINT)
    while b"--after" not in output:
        output += os.read(terminal, 1000)
    assert process.wait(20) == 130
    os.close(terminal)
    assert "job_created" in output.decode()
    assert "\N{LIGHT SHADE}" * 24 in output.decode()
    assert "Traceback" not in output.decode()
