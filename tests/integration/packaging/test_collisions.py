"""A project with apps that have the labels `events` and `jobs` and contain equal names."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.packaging.conftest import Environment, write
from tests.support.need import need
from tests.support.postgres import BINARIES, PostgresServer, find_binary

pytestmark = [pytest.mark.extended, pytest.mark.timeout(300)]

SETTINGS = """
import os
import dj_database_url
SECRET_KEY = "x" * 50
ALLOWED_HOSTS = ["testserver"]
USE_TZ = True
STATIC_URL = "/static/"
ROOT_URLCONF = "myproject.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"])}
if os.environ["DATABASE_URL"].startswith("sqlite"):
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
    }
PACKAGE_APPS, PROJECT_APPS = ["events", "jobs"], ["apps.jobs", "myproject.events"]
INSTALLED_APPS = [
    "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
    "django.contrib.sessions", "django.contrib.messages", "django.contrib.staticfiles",
    *(PACKAGE_APPS + PROJECT_APPS if os.environ["PACKAGE_FIRST"] else PROJECT_APPS + PACKAGE_APPS),
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]},
}]
REST_FRAMEWORK = {"DEFAULT_THROTTLE_RATES": {"jobs": "1/day", "publish": "1/day"}}
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
JOB_EVENTS = {"REDIS_URL": os.environ["REDIS_URL"], "RUNNERS": {"report": "apps.jobs.tasks.work"}}
"""

MODELS = """
from django.conf import settings
from django.db import models


class {name}(models.Model):
    # The reverse accessor is the default one.
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    title = models.CharField(max_length=100)

    class Meta:
        indexes = [models.Index(fields=["title"], name="{table}_by_title")]
        permissions = [("cancel_job", "May cancel")]
"""

ADMIN = """
from django.contrib import admin
from {package}.models import {name}
admin.site.register({name})
"""

APPS = """
from django.apps import AppConfig


class {config}(AppConfig):
    name = "{package}"
"""

FILES = {
    "manage.py": """
import os
import sys
os.environ["DJANGO_SETTINGS_MODULE"] = "myproject.settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
""",
    "myproject/settings.py": SETTINGS,
    "myproject/urls.py": """
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("jobs/", include("apps.jobs.urls")),
    path("background/", include("jobs.urls")),
]
""",
    "myproject/celery.py": """
from celery import Celery
app = Celery("myproject")
app.autodiscover_tasks()
""",
    "myproject/events/apps.py": APPS.format(config="EventsConfig", package="myproject.events"),
    "myproject/events/models.py": MODELS.format(name="EventLog", table="events_log"),
    "myproject/events/admin.py": ADMIN.format(name="EventLog", package="myproject.events"),
    "apps/jobs/apps.py": APPS.format(config="JobsConfig", package="apps.jobs"),
    "apps/jobs/models.py": MODELS.format(name="Job", table="jobs_job")
    + MODELS.format(name="Task", table="jobs_task").replace("cancel_job", "cancel_task"),
    "apps/jobs/admin.py": ADMIN.format(name="Job", package="apps.jobs"),
    "apps/jobs/urls.py": """
from django.urls import path
from django.views.generic import TemplateView

app_name = "jobs"
urlpatterns = [
    path("", TemplateView.as_view(template_name="jobs/job_list.html"), name="list"),
    path("api/", TemplateView.as_view(template_name="jobs/base.html"), name="api-job-list"),
]
""",
    "apps/jobs/tasks.py": """
from celery import shared_task
from events.integrations.celery import JobTask


@shared_task(name="generate_outline_from_query_task")
def generate_outline_from_query_task():
    pass


def work(job_id):
    from events.publisher import get_publisher
    from jobs import services
    services.job_start(job_id=job_id)
    get_publisher().publish_event(job_id, {"event_type": "page_written"})
    services.job_complete(job_id=job_id)
""",
    "apps/jobs/templates/jobs/base.html": "Base of the project.",
    "apps/jobs/templates/jobs/job_list.html": '{% extends "jobs/base.html" %}',
    "apps/jobs/templates/jobs/job_detail.html": "Detail of the project.",
    "apps/jobs/static/jobs/jobs.css": "/* of the project */",
    "myproject/events/static/events/job-events.js": "// of the project",
}

USE = """
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.contrib.staticfiles.finders import find
from django.test import Client
from django.urls import reverse
from apps.jobs.models import Job as ProjectJob
from events.history import read_events
from events.models import EventLog
from jobs import services
from jobs.models import Job
from myproject.celery import app
from myproject.events.models import EventLog as ProjectLog

user = get_user_model().objects.create_superuser("anna", password="anna")
ProjectJob.objects.create(owner=user, title="A job of the project")
ProjectLog.objects.create(owner=user, title="A log of the project")
job = services.job_create(task_type="report", title="A job of the package", owner=user)
assert [each.title for each in user.job_set.all()] == ["A job of the project"]
assert [each.title for each in user.job_events_jobs.all()] == ["A job of the package"]
kinds = [event.event_type for event in read_events(job.job_id)]
assert kinds == ["job_created", "task_started", "page_written", "task_completed"], kinds

assert Permission.objects.filter(codename="view_job").count() == 2
assert user.get_all_permissions() >= {"jobs.cancel_job", "job_events_jobs.view_job"}
plain = get_user_model().objects.create_user("bert", is_staff=True)
plain.user_permissions.set(Permission.objects.filter(content_type__app_label="jobs"))

def page(client, path, status=200):
    response = client.get(path)
    assert response.status_code == status, (path, response.status_code)
    return response.content.decode()

client = Client(raise_request_exception=True)
client.force_login(user)
assert reverse("jobs:list") == "/jobs/"
assert reverse("job_events:list") == "/background/jobs/"
assert page(client, "/jobs/") == "Base of the project."
job_list = page(client, "/background/jobs/")
assert "A job of the package" in job_list and "of the project" not in job_list
detail = page(client, f"/background/jobs/job/{job.job_id}/")
assert "A job of the package" in detail and "/background/api/" in detail
assert "A job of the package" in page(client, "/background/api/jobs/")
assert "page_written" in page(client, f"/background/api/jobs/{job.job_id}/events/")
for path, title in (
    ("jobs/job/", "A job of the project"), ("events/eventlog/", "EventLog object"),
    ("job_events_jobs/job/", "A job of the package"), ("job_events/eventlog/", job.job_id),
):
    content = page(client, f"/admin/{path}")
    assert title in content or "Job object" in content and "of the project" in title, path
change = page(client, f"/admin/job_events_jobs/job/{job.pk}/change/")
assert "<job-timeline" in change and "/background/api/jobs/" in change

other = Client()
other.force_login(plain)
page(other, "/admin/jobs/job/")
page(other, "/admin/job_events_jobs/job/", 403)
page(other, f"/background/api/jobs/{job.job_id}/", 404)

for name in ("jobs/jobs.css", "events/job-events.js"):
    assert "of the project" in open(find(name)).read()
for name in ("job_events_jobs/jobs.css", "job_events/job-events.js"):
    assert "of the project" not in open(find(name)).read()

app.loader.import_default_modules()
tasks = {name for name in app.tasks if not name.startswith("celery.")}
assert tasks == {
    "generate_outline_from_query_task", "jobs.tasks.generate_outline_from_query_task",
    "jobs.tasks.generate_document_from_outline_task",
}, tasks
print("passed")
"""


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'db.sqlite3'}"
        return
    need(request, all(map(find_binary, BINARIES)), "PostgreSQL's initdb, postgres and createdb")
    with PostgresServer.running() as server:
        yield server.url


def test_project_apps_with_the_same_labels(
    environment: Environment, tmp_path: Path, redis_url: str, database_url: str
) -> None:
    project = write(tmp_path / "project", FILES)
    variables = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "PACKAGE_FIRST": "1" if database_url.startswith("postgres") else "",
    }

    def manage(*arguments: str) -> str:
        return environment.execute(project, "manage.py", *arguments, **variables)

    assert "Create model Job" in manage("makemigrations", "jobs", "events")
    assert "no issues" in manage("check", "--database", "default")
    migrated = manage("migrate")
    for line in ("jobs.0001", "events.0001", "job_events.0001", "job_events_jobs.0001"):
        assert f"Applying {line}_initial... OK" in migrated
    assert "No changes detected" in manage("makemigrations", "--check")
    assert manage("shell", "--verbosity", "0", "-c", USE).splitlines()[-1:] == ["passed"]
    assert "archived 4" in manage("process_events", "--once")
