"""The OpenAPI schema, with and without the extra `openapi`."""

import copy
import re

import pytest
from django.test import Client
from django.urls import set_script_prefix
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.settings import (
    IMPORT_STRINGS,
    SPECTACULAR_DEFAULTS,
    SpectacularSettings,
    spectacular_settings,
)
from drf_spectacular.validation import validate_schema

from events.live.frames import SSE_OPENING, sse_frame
from events.live.messages import Live
from events.live.rejection import TYPE_PREFIX
from events.transfer.export import CSV_HEADER, csv_rows
from events.transfer.ndjson import ndjson
from events.types import Event
from jobs.api.openapi import views
from jobs.api.openapi.extensions import EXAMPLES
from jobs.api.openapi.extensions import api_schema as schema
from tests.integration.jobs.access.test_principals import VIEWS
from tests.support.site import ROOT

pytestmark = pytest.mark.django_db


def operations():
    for path, methods in schema()["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_schema_is_valid_and_without_warnings(api):
    first = schema()
    assert not GENERATOR_STATS
    copied = copy.deepcopy(first)
    assert schema() == copied
    response = api.get("schema/")
    validate_schema(response.json())
    assert response.json()["paths"].keys() == first["paths"].keys()
    known = api.client.get("/api/schema/", headers={"If-None-Match": response["ETag"]})
    assert known.status_code == 304


def test_every_route_is_in_the_schema():
    undescribed = {"/api/schema/", "/api/docs/"}
    routes = {f"/{route}".replace("<str:job_id>", "{job_id}") for route, _view in VIEWS.values()}
    described = {route for route in routes if route.startswith("/api/")} - undescribed
    assert set(schema()["paths"]) == described


def test_schema_does_not_depend_on_the_settings_of_the_project(monkeypatch):
    before = schema()
    broken = {
        "POSTPROCESSING_HOOKS": ["builtins.len"],
        "SCHEMA_PATH_PREFIX": "/api",
        "SCHEMA_PATH_PREFIX_TRIM": True,
        "CAMELIZE_NAMES": True,
    }
    own = SpectacularSettings(broken, SPECTACULAR_DEFAULTS, IMPORT_STRINGS)
    for name in broken:
        monkeypatch.setattr(spectacular_settings, name, getattr(own, name))
    assert schema() == before
    assert spectacular_settings.SCHEMA_PATH_PREFIX == "/api"


def test_every_operation_has_examples_and_problems():
    for path, method, operation in operations():
        responses = operation["responses"]
        assert {"400", "401", "403", "406"} <= set(responses), (path, method)
        assert ("404" in responses) == ("{job_id}" in path or path.endswith("/stream/"))
        assert ("415" in responses) == ("requestBody" in operation)
        for code, response in responses.items():
            for kind, content in response.get("content", {}).items():
                assert content["examples"], (path, method, code)
                assert (kind == "application/problem+json") == (int(code) >= 400)


def test_generated_clients_can_publish_any_keys():
    """Some generators drop the keys that a schema does not mention."""
    assert schema()["components"]["schemas"]["NewEvent"]["additionalProperties"] == {}
    paths = SchemaGenerator().get_schema(request=None, public=True)
    assert "NewEvent" in paths["components"]["schemas"]  # in that of the project


def test_problem_types_of_the_reference_have_examples():
    reference = (ROOT / "docs" / "reference.md").read_text()
    section = reference.partition("### Errors")[2].partition("\n##")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| ")][1:]
    documented = {
        (status, name)
        for statuses, names in rows
        for status, name in zip(
            *(re.findall(r"[a-z0-9-]+", each) for each in (statuses, names)), strict=True
        )
    }
    undescribed = {
        ("405", "method-not-allowed"), ("501", "needs-openapi"), ("501", "needs-metrics"),
    }  # fmt: skip
    problems = EXAMPLES["problems"].items()
    assert documented - undescribed == {(str(each["status"]), name) for name, each in problems}
    assert all(each["type"] == TYPE_PREFIX + name for name, each in problems)


def test_examples_of_files_and_streams_are_what_the_encoders_write():
    raw = b'{"text":"Hello"}'
    event = Event("1795315967958-0", "job_001", "thought", "2026-11-22T02:52:47+00:00", raw)
    files = {"application/x-ndjson": ndjson([event]), "text/csv": CSV_HEADER + csv_rows([event])}
    stream = SSE_OPENING + sse_frame(event) + sse_frame(Live())
    multiplexed = (sse_frame(event, event_id=f"{event.id},0"), sse_frame(Live(), job_id="job_001"))
    streams = {"event_stream": stream, "events_stream": b"".join([SSE_OPENING, *multiplexed])}
    for name, encoded in (files | streams).items():
        assert EXAMPLES[name] == encoded.decode()


def test_server_url_is_the_script_prefix():
    set_script_prefix("/there/")
    try:
        assert schema()["servers"] == [{"url": "/there"}]
    finally:
        set_script_prefix("/")


def test_operations_in_the_schema_of_the_project():
    made = SchemaGenerator().get_schema(request=None, public=True)
    assert made["paths"]["/api/jobs/"]["post"]["operationId"] == "job_create"


def test_without_the_extra(api, client, user, monkeypatch):
    monkeypatch.setattr(views, "IS_INSTALLED", False)
    response = api.get("schema/")
    assert (response.status_code, response.json()["type"]) == (501, TYPE_PREFIX + "needs-openapi")
    assert "django-job-events[openapi]" in response.json()["detail"]
    client = Client()
    client.force_login(user)
    assert "django-job-events[openapi]" in client.get("/api/docs/").content.decode()
