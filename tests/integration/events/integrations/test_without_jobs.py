"""Celery tasks in a project without the app `jobs`: `StreamRunTracker`."""

import json
import subprocess
import sys

from events.streams import commands
from events.streams.clients import get_redis, send_command
from events.streams.keys import StreamKeys
from tests.support.site import ROOT

PROJECT = """
import sys
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["events"], JOB_EVENTS={"REDIS_URL": sys.argv[1]}, SECRET_KEY="x" * 50,
)
django.setup()
from celery import Celery
from celery.exceptions import Ignore, Reject
from events.integrations.celery import JobTask
app = Celery("project", task_cls=JobTask)
app.conf.task_always_eager = True

@app.task(bind=True, max_retries=1)
def work(self, job_id, how):
    self.progress(50)
    if how == "fails":
        raise ValueError("with sk-ant-api03-" + "a" * 40)
    if how == "tries" and not self.request.retries:
        raise self.retry(countdown=0, exc=ValueError("try again"))
    if how == "ignores":
        raise Ignore("done by another worker")
    if how == "rejects":
        raise Reject("busy", requeue=True)
    if how == "requests_input":
        self.ask("Sure?")
    return how

for how in ("works", "fails", "tries", "ignores", "rejects", "requests_input"):
    try:
        work.delay(how, how).get()
    except Exception as error:
        print(type(error).__name__)
print(work.delay("deleted", "works").state)
"""


def logged(job_id):
    return [json.loads(fields[b"data"]) for _, fields in get_redis().xrange(f"job_events:{job_id}")]


def test_tasks_publish_lifecycle_events(redis_server):
    """Those of a deleted log are rejected."""
    send_command(get_redis(), commands.erase(StreamKeys("job_events:").pair("deleted"), 60_000))
    command = [sys.executable, "-c", PROJECT, redis_server.url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ValueError", "NotImplementedError", "IGNORED"]

    def kinds(job_id):
        return [event["event_type"] for event in logged(job_id)]

    started = ["task_started", "task_progress"]
    assert kinds("works") == [*started, "task_completed"]
    assert logged("works")[-1]["result"] == "works"
    assert kinds("fails") == [*started, "task_failed"]
    assert logged("fails")[-1]["error"] == "with [redacted]"
    assert kinds("tries") == [*started, "task_retry", *started, "task_completed"]
    assert kinds("ignores") == [*started, "task_revoked"]
    ignored = logged("ignores")[-1]
    assert (ignored["reason"], ignored["message"], ignored["job_status"]) == (
        "ignored", "done by another worker", "cancelled",
    )  # fmt: skip
    assert kinds("rejects") == [*started, "task_failed"]
    assert (logged("rejects")[-1]["reason"], logged("rejects")[-1]["error"]) == ("rejected", "busy")
    assert kinds("requests_input") == [*started, "task_failed"]
    assert not logged("deleted")
    assert "need the app `jobs`" in logged("requests_input")[-1]["error"]
