"""A project without USE_TZ: times are naive in its database, and have an offset in the API."""

from pathlib import Path

import pytest

from tests.support.postgres import PostgresServer
from tests.support.project import project, run_script
from tests.support.site import TABLES_SCRIPT

pytestmark = pytest.mark.extended

# Farther from UTC than all timeouts, in both directions of a wrong conversion.
SETTINGS = """
USE_TZ = False
TIME_ZONE = "Asia/Tokyo"
JOB_EVENTS["RETENTION"] = {"*": {"days": 30}}
"""
SCRIPT = """
import io, json
from datetime import UTC, datetime, timedelta
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from events.database import aware_time
from events.execution.run import Delivery
from events.history import read_events
from events.processor.status import get_status
from events.publisher import get_publisher
from jobs import inputs, services
from jobs.execution.claims import silent_tasks
from jobs.execution.reaper import Reaper
from jobs.execution.tracker import JobRunTracker
from jobs.models import Job, Task

def close(text):
    time = datetime.fromisoformat(text)
    assert time.utcoffset() is not None, text
    assert abs(datetime.now(UTC) - time) < timedelta(minutes=2), text

user = User.objects.get(username="demo")
services.job_create(job_id="j", task_type="x", owner=user)
delivery = Delivery("celery", "1", "j", "x", None, "worker", sends_heartbeats=True)
tracker = JobRunTracker()
tracker.claim(delivery)
task = Task.objects.get()
assert abs(timezone.now() - task.heartbeat_at) < timedelta(minutes=2), task.heartbeat_at
assert not silent_tasks(30).exists() and silent_tasks(0).exists()
reaper = Reaper()
reaper.step()
assert Job.objects.get().status == "running"
inputs.input_request(job_id="j", name="q", prompt="?")
inputs.input_give(job_id="j", name="q", value=1, by=user)

# A worker without a database: the projection updates the row.
services.job_create(job_id="k", task_type="x", owner=user)
get_publisher().publish_task_started("k", "x")
get_publisher().publish_task_completed("k", "x", {"a": 1})
call_command("process_events", once=True)
job = Job.objects.get(job_id="k")
assert job.status == "completed"
assert abs(timezone.now() - job.finished_at) < timedelta(minutes=2), job.finished_at
services.job_cancel(job_id="j")

client = Client(headers={"host": "localhost"})
client.force_login(user)
def get(path, **query):
    response = client.get(path, query)
    assert response.status_code == 200, (path, response.status_code, response.content[-900:])
    return response
for found in get("/api/jobs/").json()["results"]:
    close(found["created_at"])
    close(found["finished_at"])
close(get("/api/jobs/j/inputs/").json()["results"][0]["answered_at"])
before = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
after = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
local = (timezone.now() - timedelta(minutes=5)).isoformat()
for path in ("/api/jobs/", "/api/jobs/j/events/", "/api/events/"):
    names = ("created_after", "created_before") if path == "/api/jobs/" else ("since", "until")
    for start in (before, local):
        assert get(path, **{names[0]: start, names[1]: after}).json()["results"], (path, start)
    assert not get(path, **{names[0]: after}).json()["results"]
for ordering in ("created_at", "-created_at", "finished_at", "-finished_at"):
    first = get("/api/jobs/", ordering=ordering, limit=1).json()
    second = client.get(first["next"]).json()
    assert {first["results"][0]["job_id"], second["results"][0]["job_id"]} == {"j", "k"}
ticket = client.post("/api/jobs/j/ticket/").json()["ticket"]
anonymous = Client(headers={"host": "localhost"})
assert anonymous.get(f"/api/jobs/j/events/poll/?ticket={ticket}").json()["end"]
for path, time in (("/jobs/job/j/", '+09:00">2'), ("/jobs/", '+09:00" title=')):
    page = get(path).content.decode()
    assert time in page and " JST</time>" in page, path
admin = "/admin/job_events_jobs/job/"
for path in (admin, f"{admin}{job.pk}/change/", "/admin/job_events/processor/",
             "/admin/job_events/eventlog/"):
    page = get(path).content.decode()
    assert "job_events_jobs" not in path or " JST</span></time>" in page, path
get_status()
call_command("prune_events")
services.job_delete(job_id="j")
call_command("process_events", once=True)
"""

ALERTS_SCRIPT = """
from datetime import timedelta
from django.utils import timezone
from events.database import database_now
from jobs.alerts.deliverer import Deliverer
from jobs.management.commands.send_test_alert import sample_message
from jobs.models import AlertDelivery

message, now = sample_message(), database_now()
message.save()
for channel in ("signal", "missing"):
    AlertDelivery.objects.create(message=message, channel=channel, next_at=now)
step = Deliverer(single_pass=True).step
assert (step(), step()) == (2, 0)
delivered, failed = AlertDelivery.objects.order_by("pk")
minute = timedelta(minutes=1)
assert abs(timezone.now() - delivered.delivered_at) < minute, delivered.delivered_at
assert timezone.now() - minute < failed.next_at < timezone.now() + minute, failed.next_at
"""


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_times_without_time_zones(
    folder: Path, database: str, request: pytest.FixtureRequest
) -> None:
    environment = {}
    if database == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        environment["DATABASE_URL"] = server.url
    with project(folder, SETTINGS, **environment) as site:
        run_script(site, TABLES_SCRIPT)
        run_script(site, SCRIPT)
        run_script(site, ALERTS_SCRIPT)
        site.start_processor()
        site.manage("check", "--database", "default")
