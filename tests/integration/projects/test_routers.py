"""Database routers: a replica without the latest rows, and another database than `default`."""

from pathlib import Path
from subprocess import CalledProcessError

import pytest

from tests.support.postgres import PostgresServer
from tests.support.project import project, run_script

pytestmark = pytest.mark.extended

DATABASES = """
DATABASES["other"] = {**DATABASES["default"], "NAME": "{directory}/other.sqlite3"}
DATABASE_ROUTERS = [f"{__name__}.Router"]
APPS = ("job_events", "job_events_jobs")
"""
# Reads from a replica that has users, but no rows of the apps yet.
REPLICA = """
class Router:
    def db_for_read(self, model, **hints):
        return "other" if model._meta.app_label in (*APPS, "auth") else "default"
    def db_for_write(self, model, **hints):
        return "default"
    def allow_relation(self, *args, **hints):
        return True
"""
# All tables are in another database, and `default` has none.
MOVED = """
class Router:
    def db_for_read(self, model, **hints):
        return "other"
    db_for_write = db_for_read
    def allow_migrate(self, alias, label, **hints):
        return alias == "other"
"""
# Users are in `default`, the apps in another database.
DIVIDED = """
class Router:
    def db_for_read(self, model, **hints):
        return "other" if model._meta.app_label in APPS else "default"
    db_for_write = db_for_read
"""
# The log is in another database than the jobs.
SPLIT = DIVIDED.replace("in APPS", "== 'job_events'")

MIGRATE = """
from django.contrib.auth.models import User
from django.core.management import call_command
for alias in ("default", "other"):
    call_command("migrate", database=alias, verbosity=0)
for alias in ("default", "other") if REPLICA else ("other",):
    User(pk=7, username="demo", password="!", is_staff=True, is_superuser=True).save(using=alias)
"""
SCRIPT = """
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import transaction
from django.test import Client
from events import outbox
from events.database import write_alias
from events.history import read_events
from events.publisher import get_publisher
from jobs import inputs, services
from jobs.models import Job

def types(job_id):
    return [event.event_type for event in read_events(job_id)]

alias = write_alias()
user = User.objects.using(alias).get()
try:
    with transaction.atomic(using=alias):
        outbox.publish_event("r", {"event_type": "rolled_back"})
        raise KeyError
except KeyError:
    pass
assert types("r") == []
job = services.job_create(job_id="j", task_type="x", title="Tea", owner=user)
services.job_start(job_id="j")
services.job_progress(job_id="j", progress=5)
inputs.input_request(job_id="j", name="q", prompt="?")
inputs.input_give(job_id="j", name="q", value=1, by=user)
get_publisher().publish_event("j", {"event_type": "direct"})
call_command("process_events", once=True)
services.job_complete(job_id="j", result={"a": 1})
expected = ["job_created", "task_started", "task_progress", "input_requested", "input_received",
            "direct", "task_completed"]
assert types("j") == expected, types("j")
call_command("process_events", once=True)
assert types("j") == expected, types("j")

client = Client(headers={"host": "localhost"})
client.force_login(user)
def get(path, **headers):
    response = client.get(path, headers=headers)
    assert response.status_code == 200, (path, response.status_code, response.content[-500:])
    return response
assert get("/api/jobs/?search=Tea").json()["results"][0]["status"] == "completed"
assert get("/api/jobs/j/").json()["owner"] == "demo"
assert len(get("/api/jobs/j/events/").json()["results"]) == 7
assert len(get("/api/jobs/j/events/poll/").json()["results"]) == 7
assert len(get("/api/events/?event_type=direct").json()["results"]) == 1
assert len(get("/api/jobs/j/inputs/").json()["results"]) == 1
assert get("/api/job-counts/").json()["completed"] == 1
ticket = client.post("/api/jobs/j/ticket/").json()["ticket"]
anonymous = Client(headers={"host": "localhost"})
assert anonymous.get(f"/api/jobs/j/events/poll/?ticket={ticket}").json()["end"]
JSON = "application/json"
created = client.post("/api/jobs/", {"task_type": "y"}, content_type=JSON)
assert created.status_code == 201, created.content
job_id = created.json()["job_id"]
cancelled = client.post(f"/api/jobs/{job_id}/cancel/", {}, content_type=JSON)
assert cancelled.json()["status"] == "cancelled"
admin = "/admin/job_events_jobs/job/"
for path in ("/jobs/", "/jobs/job/j/", f"{admin}?q=demo", f"{admin}{job.pk}/change/",
             "/admin/job_events/processor/"):
    assert "Tea" in get(path).content.decode() or "processor" in path, path
services.job_delete(job_id="j")
call_command("process_events", once=True)
user.delete()
assert not Job.objects.using(alias).exists()
call_command("check", databases=["default", "other"])
"""


@pytest.mark.parametrize("router", [REPLICA, MOVED], ids=["replica", "moved"])
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_everything_happens_in_the_database_for_writing(
    folder: Path, router: str, database: str, request: pytest.FixtureRequest
) -> None:
    settings, environment = DATABASES + router, {}
    if database == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        environment["DATABASE_URL"] = server.url
        settings = settings.replace("{directory}/other.sqlite3", "postgres")  # of initdb
    with project(folder, settings, **environment) as site:
        run_script(site, MIGRATE.replace("REPLICA", str(router == REPLICA)))
        run_script(site, SCRIPT)
        site.manage("process_events", "--once")
        site.manage("check", "--database", "default", "--database", "other")


@pytest.mark.parametrize("router", [DIVIDED, SPLIT], ids=["users", "jobs"])
def test_relations_between_databases_are_an_error(folder: Path, router: str) -> None:
    with (
        project(folder, DATABASES + router) as site,
        pytest.raises(CalledProcessError) as error,
    ):
        site.manage("check")
    assert "job_events.E041" in error.value.stderr
