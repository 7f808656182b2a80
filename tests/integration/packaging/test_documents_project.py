"""A project shaped like paperless-ngx adds the package by the steps of the README.

It has an app `documents`, a base path, WhiteNoise, allauth, Celery with Redis, consumers of its own
and a catch-all route for its front end.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from config.celery_broker import broker_url
from events.testing.redis_server import throwaway_redis
from tests.integration.packaging.conftest import Environment, run, write
from tests.integration.test_documents import snippets
from tests.support.site import ROOT, free_port, wait_for_port

pytestmark = [pytest.mark.extended, pytest.mark.timeout(300)]

BASE = "/paperless"

SETTINGS = """
import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "key-of-the-tests-0123456789-abcdefghijklmnopqrstuvw"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
FORCE_SCRIPT_NAME = "/paperless"
BASE_URL = "/paperless/"
LOGIN_URL = BASE_URL + "accounts/login/"
LOGIN_REDIRECT_URL = BASE_URL + "dashboard"
INSTALLED_APPS = [
    "whitenoise.runserver_nostatic",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "documents.apps.DocumentsConfig",
    "django.contrib.admin",
    "rest_framework",
    "rest_framework.authtoken",
    "allauth",
    "allauth.account",
    "channels",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
ROOT_URLCONF = "paperless.urls"
ASGI_APPLICATION = "paperless.asgi.application"
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]},
}]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.BasicAuthentication",
        "rest_framework.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.AcceptHeaderVersioning",
    "DEFAULT_VERSION": "9",
    "ALLOWED_VERSIONS": ["8", "9"],
}
DATABASES = {"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3",
    "OPTIONS": {"timeout": 30},
}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
STATIC_URL = BASE_URL + "static/"
STATIC_ROOT = BASE_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
USE_TZ = True
LANGUAGE_CODE = "en-us"
CELERY_BROKER_URL = os.environ["BROKER_URL"]
CELERY_TASK_IGNORE_RESULT = True
CHANNEL_LAYERS = {"default": {
    "BACKEND": "channels_redis.core.RedisChannelLayer",
    # channels_redis reads without a timeout; that of redis-py 8 would close its sockets.
    "CONFIG": {
        "hosts": [{"address": os.environ["REDIS_URL"], "socket_timeout": None}],
        "prefix": "paperless",
    },
}}
"""

PROJECT = {
    "paperless/__init__.py": """
from .celery import app as celery_app
""",
    "paperless/celery.py": """
import os
from celery import Celery
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "paperless.settings")
app = Celery("paperless")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
""",
    "paperless/consumers.py": """
from channels.generic.websocket import AsyncJsonWebsocketConsumer

class StatusConsumer(AsyncJsonWebsocketConsumer):
    async def connect(self):
        if not self.scope["user"].is_authenticated:
            return await self.close()
        await self.channel_layer.group_add("status_updates", self.channel_name)
        await self.accept()

    async def status_update(self, event):
        await self.send_json(event["data"])
""",
    "documents/apps.py": """
from django.apps import AppConfig

class DocumentsConfig(AppConfig):
    name = "documents"
""",
    "documents/models.py": """
from django.db import models

class Document(models.Model):
    title = models.CharField(max_length=128)
""",
    "documents/migrations/__init__.py": "",
    "documents/tasks.py": """
from asgiref.sync import async_to_sync
from celery import shared_task
from channels.layers import get_channel_layer
from documents.models import Document

@shared_task
def consume_file(path):
    document = Document.objects.create(title=path)
    message = {"type": "status.update", "data": {"document": document.title}}
    async_to_sync(get_channel_layer().group_send)("status_updates", message)
    return f"Success. New document id {document.pk} created"
""",
    "documents/views.py": """
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpResponse
from django.views import View
from rest_framework.response import Response
from rest_framework.views import APIView
from documents.models import Document

class IndexView(LoginRequiredMixin, View):
    def get(self, request, **kwargs):
        return HttpResponse("<app-root></app-root>")

class DocumentsView(APIView):
    def get(self, request):
        return Response({"results": [each.title for each in Document.objects.all()]})
""",
    "manage.py": """
import os, sys
from django.core.management import execute_from_command_line
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "paperless.settings")
execute_from_command_line(sys.argv)
""",
}

# What the README and the guides add to it.
URLS = """
from django.contrib import admin
from django.urls import include, path, re_path
from documents.views import DocumentsView, IndexView

urlpatterns = [
    path("api/documents/", DocumentsView.as_view()),
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("", include("jobs.urls")),
    re_path(r"^(?P<path>.*)$", IndexView.as_view(), name="base"),
]
"""
ADDED_SETTINGS = """
INSTALLED_APPS += ["events", "jobs"]
JOB_EVENTS = {"RUNNERS": {"consume": "documents.tasks.consume_job"}}
"""
TASK = """
from events.integrations.celery import JobTask

@shared_task(base=JobTask, bind=True)
def consume_job(self, job_id, path):
    return consume_file(path)
"""


def asgi() -> str:
    """Return the `asgi.py` of the quickstart with the consumer of the project."""
    code = snippets(ROOT / "docs" / "quickstart.md")["asgi"].replace("mysite", "paperless")
    assert "URLRouter(websocket_urlpatterns)" in code
    code = code.replace(
        "URLRouter(websocket_urlpatterns)", "URLRouter([*own, *websocket_urlpatterns])"
    )
    own = (
        "from django.urls import path\n"
        "from paperless.consumers import StatusConsumer\n"
        'own = [path("ws/status/", StatusConsumer.as_asgi())]\n'
    )
    return code.replace("\nsockets =", f"\n{own}\nsockets =")


class Server:
    """The project with its processes."""

    def __init__(self, environment: Environment, folder: Path, redis_url: str) -> None:
        sqlite = snippets(ROOT / "docs" / "projects.md")["sqlite"]
        settings = {"paperless/settings.py": SETTINGS + ADDED_SETTINGS + sqlite}
        added = {
            "paperless/urls.py": URLS,
            "paperless/asgi.py": asgi(),
            "documents/tasks.py": PROJECT["documents/tasks.py"] + TASK,
        }
        self.folder = write(folder, {**PROJECT, **settings, **added})
        self.python = environment.python
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{BASE}"
        excluded = ("DJANGO", "PYTHONPATH")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(excluded)}
        self.environment = {**kept, "REDIS_URL": redis_url}
        self.environment |= {"BROKER_URL": broker_url(redis_url), "DJANGO_SUPERUSER_PASSWORD": "pw"}

    def manage(self, *arguments: str) -> str:
        options: dict[str, Any] = {"cwd": self.folder, "env": self.environment}
        return run(self.python, "manage.py", *arguments, **options)

    def start(self, stack: ExitStack, *arguments: str) -> subprocess.Popen[bytes]:
        log = stack.enter_context((self.folder / "log").open("ab"))
        process = subprocess.Popen(
            [str(self.python), *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=log,
            stderr=log,
        )
        stack.callback(process.wait, 20)
        stack.callback(process.terminate)
        return process


@pytest.fixture
def server(environment: Environment, tmp_path: Path) -> Iterator[Server]:
    with ExitStack() as stack:
        server = Server(environment, tmp_path, stack.enter_context(throwaway_redis()))
        server.manage("makemigrations", "documents")
        assert "no issues" in server.manage("check")
        server.manage("migrate")
        assert "no issues" in server.manage("check", "--database", "default")
        server.manage("collectstatic", "--noinput")
        server.manage("createsuperuser", "--noinput", "--username=admin", "--email=a@example.com")
        server.start(stack, "-m", "celery", "-A", "paperless", "worker", "--concurrency", "1")
        server.start(stack, "manage.py", "process_events")
        arguments = ["paperless.asgi:application", "--port", str(server.port)]
        web = server.start(stack, "-m", "uvicorn", *arguments)
        wait_for_port(server.port, web)
        yield server


def log_in(server: Server, client: httpx.Client) -> None:
    """Log in on the page of allauth."""
    page = client.get(f"{server.url}/jobs/")
    assert page.url.path == f"{BASE}/accounts/login/"
    form = {
        "login": "admin",
        "password": "pw",
        "csrfmiddlewaretoken": client.cookies["csrftoken"],
        "next": f"{BASE}/jobs/",
    }
    page = client.post(str(page.url), data=form, headers={"Referer": str(page.url)})
    assert (page.status_code, page.url.path) == (200, f"{BASE}/jobs/")
    client.headers["X-CSRFToken"] = client.cookies["csrftoken"]


def test_project_shaped_like_paperless(server: Server) -> None:
    with httpx.Client(timeout=30, follow_redirects=True) as client:
        log_in(server, client)
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        origin = f"http://127.0.0.1:{server.port}"
        sockets = server.url.replace("http", "ws")
        options: Any = {"origin": origin, "additional_headers": {"Cookie": cookies}}
        with connect(f"{sockets}/ws/status/", **options) as status:
            body = {"task_type": "consume", "title": "a.pdf", "payload": {"path": "a.pdf"}}
            created = client.post(f"{server.url}/api/jobs/", json=body)
            assert created.status_code == 201, created.text
            job = created.json()
            assert job["url"] == f"{BASE}/jobs/job/{job['job_id']}/"
            assert json.loads(status.recv(30)) == {"document": "a.pdf"}
        with connect(f"{sockets}/ws/jobs/{job['job_id']}/?after=0", **options) as socket:
            messages = [json.loads(text) for text in socket]
        types = [each["event"]["event_type"] for each in messages if each["type"] == "event"]
        assert types == ["job_created", "task_started", "task_completed"]
        assert messages[-1]["type"] == "end"
        address = f"{server.url}/api/jobs/{job['job_id']}/"
        assert client.get(address).json()["status"] == "completed"
        assert client.get(address).json()["result"].startswith("Success. New document id")
        assert client.get(f"{address}events/stream/").text.endswith("event: end\ndata: {}\n\n")

        page = client.get(f"{origin}{job['url']}")
        assert "a.pdf" in page.text
        assert f'"{BASE}/api/jobs/"' in page.text
        assert client.get(f"{server.url}/static/job_events_jobs/jobs.css").status_code == 200
        admin = client.get(f"{server.url}/admin/job_events_jobs/job/")
        assert "a.pdf" in admin.text

        # The project itself is as before.
        documents = client.get(f"{server.url}/api/documents/").json()
        assert documents == {"results": ["a.pdf"]}
        assert "<app-root>" in client.get(f"{server.url}/dashboard").text
        assert "<app-root>" in client.get(f"{server.url}/documents/1/details").text
