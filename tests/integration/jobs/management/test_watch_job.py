"""`manage.py watch_job`: a job in a terminal, by a process of its own."""

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


def watched(*arguments):
    """What is printed, and the exit code."""
    out = StringIO()
    try:
        call_command("watch_job", *arguments, stdout=out)
    except SystemExit as end:
        return out.getvalue(), end.code
    return out.getvalue(), 0


def complete():
    services.job_complete(job_id="abc")
    connection.close()


def test_the_log_and_what_comes_until_the_end(job):
    later = threading.Timer(0.3, complete)
    later.start()
    text, code = watched("abc")
    later.join()
    lines = text.splitlines()
    assert code == 0
    assert len(lines) == len(read_events("abc"))
    assert "job_created" in lines[0]
    assert "task_completed" in lines[-1]
    assert "Reading \N{REPLACEMENT CHARACTER}[31mred <b>" in lines[2]


@pytest.mark.parametrize("end", [services.job_fail, services.job_cancel])
def test_a_job_that_has_not_completed(job, end):
    end(job_id="abc", **({"error": "boom"} if end is services.job_fail else {}))
    assert watched("abc")[1] == 1


def test_after_a_cursor_and_as_json(job):
    services.job_cancel(job_id="abc")
    events = read_events("abc")
    text, _ = watched("abc", "--after", events[1].id, "--json")
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
def test_what_is_asked_wrongly_is_a_sentence(job, arguments, words):
    with pytest.raises(CommandError, match=words):
        watched(*arguments)


def test_a_log_without_a_job(db):
    get_publisher().publish_event("of-a-worker", {"event_type": "x", "timestamp": "2026-01-01"})
    text, code = watched("of-a-worker")
    assert (len(text.splitlines()), code) == (1, 0)


def test_a_terminal_has_a_bar_and_ctrl_c_tells_how_to_go_on(site: Site):
    with site.client() as client:
        job_id = client.post("/api/jobs/", json={"task_type": "manual"}).json()["job_id"]
    ours, theirs = pty.openpty()
    command = [sys.executable, "manage.py", "watch_job", job_id]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=site.environment,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        # A shell that runs the tests in the background lets its children ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no lock
    )
    os.close(theirs)
    said = b""
    while b" 0 %" not in said:
        said += os.read(ours, 1000)
    process.send_signal(signal.SIGINT)
    while b"--after" not in said:
        said += os.read(ours, 1000)
    assert process.wait(20) == 130
    os.close(ours)
    assert "job_created" in said.decode()
    assert "\N{LIGHT SHADE}" * 24 in said.decode()
    assert "Traceback" not in said.decode()
