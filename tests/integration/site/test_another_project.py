"""The API in a project that changes all defaults of Django REST framework."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.support.nginx import another_web, extend_settings
from tests.support.site import Site

pytestmark = pytest.mark.extended

SETTINGS = """
INSTALLED_APPS += ["rest_framework.authtoken"]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.DjangoModelPermissions"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.StaticHTMLRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.FormParser"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "PAGE_SIZE": 1,
    "DEFAULT_FILTER_BACKENDS": ["rest_framework.filters.SearchFilter"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "rest_framework.negotiation.DefaultContentNegotiation",
    "DEFAULT_SCHEMA_CLASS": "rest_framework.schemas.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.UserRateThrottle"],
    "DEFAULT_THROTTLE_RATES": {"user": "1000/min", "job_events_export": "2/min"},
    "EXCEPTION_HANDLER": "builtins.print",
    "NON_FIELD_ERRORS_KEY": "whole",
    "FORMAT_SUFFIX_KWARG": "job_id",
    "UNAUTHENTICATED_USER": None,
    "UPLOADED_FILES_USE_URL": False,
    "DATETIME_FORMAT": "%d.%m.%Y",
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.NamespaceVersioning",
    "DEFAULT_VERSION": "v1",
    "ALLOWED_VERSIONS": ["v1"],
    "DEFAULT_METADATA_CLASS": None,
    "URL_FORMAT_OVERRIDE": "limit",
}
"""
TOKEN = """
from django.contrib.auth.models import Permission, User
from rest_framework.authtoken.models import Token
user = User.objects.create_user("tokens")
user.user_permissions.add(Permission.objects.get(codename="add_job"))
Token.objects.create(user=user, key="k" * 40)
"""


@pytest.fixture(scope="module")
def url(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    environment = extend_settings(Path(tmp_path_factory.mktemp("other")), SETTINGS)
    with another_web(site, **environment) as other:
        other.manage("migrate", "--verbosity", "0")
        other.manage("shell", "--verbosity", "0", "-c", TOKEN)
        yield other.url


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    headers = {"Authorization": "Token " + "k" * 40}
    with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
        yield client


def test_token_authentication_and_pagination_of_the_api(client: httpx.Client) -> None:
    for number in range(3):
        body = {"task_type": "manual", "job_id": f"token-{number}", "title": f"Tea {number}"}
        assert client.post("/api/jobs/", json=body).status_code == 201
    jobs = client.get("/api/jobs/?search=Tea").json()["results"]
    assert [job["job_id"] for job in jobs] == ["token-2", "token-1", "token-0"]
    job = client.post("/api/jobs/token-0/cancel/").json()
    assert job["status"] == "cancelled"
    assert datetime.fromisoformat(job["finished_at"]).utcoffset() == timedelta(0)
    assert client.options("/api/jobs/").status_code == 200
    events = client.get("/api/jobs/token-0/events/").json()["results"]
    assert [event["event_type"] for event in events] == ["job_created", "job_cancelled"]
    assert client.get("/api/job-counts/?search=Tea").json()["pending"] == 2
    assert client.get("/api/jobs/?search=Tea 1").json()["results"][0]["title"] == "Tea 1"
    stream = client.get("/api/jobs/token-0/events/stream/").text
    assert stream.count("\nid: ") == 2
    assert stream.endswith("event: end\ndata: {}\n\n")
    assert client.get("/api/jobs/token-0/events/poll/").json()["results"] == events
    assert client.get("/api/schema/").json()["components"]["securitySchemes"].keys() >= {
        "tokenAuth"
    }


def test_errors_are_problem_details(client: httpx.Client, url: str) -> None:
    refused = client.post("/api/jobs/", json={"task_type": ""})
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["field"] == "task_type"
    assert refused.headers["Content-Type"] == "application/problem+json"
    for path in ("jobs/", "jobs/token-0/events/", "jobs/token-0/events/stream/", "schema/"):
        anonymous = httpx.get(f"{url}/api/{path}")
        assert anonymous.status_code == 401
        assert anonymous.headers["WWW-Authenticate"] == "Token"
        assert anonymous.json()["type"] == "urn:job-events:not-authenticated"
    assert client.get("/api/jobs/none/").status_code == 404
    assert "errors" not in client.post("/api/jobs/", json=[]).json()


def test_throttle_rates_of_the_app_and_the_project(client: httpx.Client) -> None:
    client.post("/api/jobs/", json={"task_type": "manual", "job_id": "token-limits"})
    codes = [client.get("/api/jobs/token-limits/events/export/").status_code for _ in range(3)]
    assert codes == [200, 200, 429]
