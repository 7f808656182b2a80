"""`/metrics`: access, formats, and what it answers without the extra and without the database."""

import subprocess
import sys

import pytest
from django.contrib.auth.models import Permission
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)

from events.metrics import exposition
from events.processor.health import status_cache
from jobs.api.views import metrics
from tests.support.database import failing_database
from tests.support.metrics import value_of
from tests.support.site import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = "secret-token"


@pytest.fixture(autouse=True)
def _token(settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "METRICS_TOKEN": TOKEN}
    status_cache.clear()
    yield
    status_cache.clear()


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_token(client):
    response = client.get("/metrics", headers=bearer(TOKEN))
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "no-store" in response["Cache-Control"]
    assert value_of(response.text, "database_up") == 1


def test_openmetrics(client):
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    response = client.get("/metrics", headers={**bearer(TOKEN), "Accept": accept})
    assert response["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert response.text.endswith("# EOF\n")
    names = {family.name for family in openmetrics_families(response.text)}
    assert {"job_events_published_events", "job_events_database_up"} <= names


def test_openmetrics_of_a_version_that_is_not_one(client):
    accept = "application/openmetrics-text; version=a.b"
    response = client.get("/metrics", headers={**bearer(TOKEN), "Accept": accept})
    assert response["Content-Type"].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize("headers", [{}, bearer("wrong"), bearer(""), {"Authorization": TOKEN}])
def test_without_the_token(client, headers):
    response = client.get("/metrics", headers=headers)
    assert response.status_code in {401, 403}
    assert response["Content-Type"] == "application/problem+json"
    assert "job_events_" not in response.text


def test_empty_setting_accepts_no_token(client, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "METRICS_TOKEN": ""}
    assert client.get("/metrics", headers=bearer("")).status_code in {401, 403}


def test_permission(client, user):
    client.force_login(user)
    assert client.get("/metrics").status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_monitor"))
    assert client.get("/metrics").status_code == 200


def test_without_the_database(client):
    with failing_database():
        response = client.get("/metrics", headers=bearer(TOKEN))
    assert response.status_code == 200
    assert value_of(response.text, "database_up") == 0


def test_files_that_cannot_be_read(client, monkeypatch, caplog):
    def fail(*_args):
        raise FileNotFoundError("/secret/path")

    monkeypatch.setattr(metrics, "render", fail)
    response = client.get("/metrics", headers=bearer(TOKEN))
    assert response.status_code == 503
    assert "PROMETHEUS_MULTIPROC_DIR" in response.json()["detail"]
    assert "/secret/path" not in response.text
    assert caplog.messages[0] == "metrics_not_read"


def test_without_the_extra(client, monkeypatch):
    monkeypatch.setattr(exposition, "IS_INSTALLED", False)
    response = client.get("/metrics", headers=bearer(TOKEN))
    assert response.status_code == 501
    assert response.json()["type"] == "urn:job-events:needs-metrics"
    assert "job-events[metrics]" in response.json()["detail"]
    assert metrics.is_available() is False


CORE_INSTALL = """
import os, sys
sys.modules["prometheus_client"] = None  # its import fails
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.support.settings"
import django
from django.conf import settings
settings.JOB_EVENTS |= {"METRICS_TOKEN": "t", "REDIS_URL": sys.argv[1]}
django.setup()
from django.test import Client
from events.publisher import get_publisher
get_publisher().publish_event("abc", {})
response = Client(SERVER_NAME="localhost").get("/metrics", headers={"Authorization": "Bearer t"})
print(response.status_code, response.json()["type"])
"""


def test_core_install(redis_server):
    """Publishing works without the package, and the rest of the site can be imported."""
    command = [sys.executable, "-c", CORE_INSTALL, redis_server.url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "501 urn:job-events:needs-metrics\n"
