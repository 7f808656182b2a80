"""A project whose admin is that of django-unfold: our classes do not inherit from its classes."""

from pathlib import Path

from tests.support.project import project, run_script
from tests.support.site import TABLES_SCRIPT

SETTINGS = """
INSTALLED_APPS = ["unfold", *INSTALLED_APPS]
"""
SCRIPT = """
from django.contrib.auth.models import User
from django.contrib.admin import site
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from jobs import services
from jobs.models import Alert

user = User.objects.get(username="demo")
job = services.job_create(job_id="j", task_type="x", owner=user, title="Tea", payload={"a": [1]})
now = timezone.now()
times = {"pending_at": now, "fired_at": now}
alert = Alert.objects.create(rule="lag", state="firing", summary="Late", **times)
client = Client(headers={"host": "localhost"})
client.force_login(user)

def get(name, *args, app="job_events_jobs"):
    response = client.get(reverse(f"admin:{app}_{name}", args=args))
    assert response.status_code == 200, (name, response.status_code, response.content[-900:])
    page = response.content.decode()
    assert "job_events/admin.css" in page, name
    return page

assert type(site._wrapped if hasattr(site, "_wrapped") else site).__module__ == "unfold.sites"
assert "Health: \\N{LARGE RED CIRCLE} Critical" in client.get("/admin/").content.decode()
page = get("job_changelist")
assert 'data-state="pending"' in page and "/jobs/job/j/" in page
page = get("job_change", job.pk)
tool = reverse("admin:job_events_jobs_job_cancel", args=[job.pk])
for part in (tool, "Open live page", "Attempts", "&quot;a&quot;"):
    assert part in page, part
assert "Yes, cancel the job" in get("job_cancel", job.pk)
assert client.post(tool, {"attempt": "1"}).status_code == 302
job.refresh_from_db()
assert job.status == "cancelled"
page = get("processor_changelist", app="job_events")
for part in ("process_events is not running.", "docs/operations.md#processors", "/jobs/monitor/"):
    assert part in page, part
get("eventlog_changelist", app="job_events")
for model in ("alert", "alertrule", "silence", "alertmessage"):
    get(f"{model}_changelist")
get("alert_change", alert.pk)
get("alertrule_add")
"""


def test_pages_of_the_admin(folder: Path) -> None:
    with project(folder, SETTINGS) as site:
        run_script(site, TABLES_SCRIPT)
        run_script(site, SCRIPT)
