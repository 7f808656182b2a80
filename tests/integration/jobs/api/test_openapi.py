"""The schema of the API, and what stands in for it where its extra is not installed."""

import copy
import re

import pytest
from django.test import Client
from django.urls import set_script_prefix
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from jobs.api.openapi import views
from jobs.api.openapi.extensions import api_schema as schema
from jobs.api.openapi.responses import PROBLEMS
from jobs.api.problem_details import TYPE_PREFIX
from tests.integration.jobs.access.test_foreign_users import ROUTES
from tests.support.site import ROOT

pytestmark = pytest.mark.django_db


def operations():
    for path, methods in schema()["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_it_is_openapi_and_nothing_is_guessed(api):
    made = schema()
    assert not GENERATOR_STATS
    again = copy.deepcopy(made)
    assert schema() == again
    told = api.get("schema/")
    validate_schema(told.json())
    assert told.json()["paths"].keys() == made["paths"].keys()
    known = api.client.get("/api/schema/", headers={"If-None-Match": told["ETag"]})
    assert known.status_code == 304


def test_it_has_every_route_of_the_api():
    undescribed = {"/api/schema/", "/api/docs/"}
    routes = {path.replace("abc", "{job_id}") for path in ROUTES.values() if "/api/" in path}
    assert set(schema()["paths"]) == routes - undescribed


def test_every_operation_has_examples_and_all_its_errors():
    for path, method, operation in operations():
        answers = operation["responses"]
        assert {"400", "401", "403", "406"} <= set(answers), (path, method)
        assert ("404" in answers) == ("{job_id}" in path or path.endswith("/stream/"))
        assert ("415" in answers) == ("requestBody" in operation)
        for code, answer in answers.items():
            for kind, said in answer.get("content", {}).items():
                assert said["examples"], (path, method, code)
                assert (kind == "application/problem+json") == (int(code) >= 400)


def test_every_error_of_the_reference_has_an_example():
    reference = (ROOT / "docs" / "reference.md").read_text()
    section = reference.partition("### Errors")[2].partition("## Event types")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| ")][1:]
    told = {
        (status, name)
        for statuses, names in rows
        for status, name in zip(
            *(re.findall(r"[a-z0-9-]+", each) for each in (statuses, names)), strict=True
        )
    }
    undescribed = {("405", "method-not-allowed"), ("501", "needs-openapi")}
    assert told - undescribed == {(str(each.status), name) for name, each in PROBLEMS.items()}
    for name, each in PROBLEMS.items():
        assert each.example["type"] == TYPE_PREFIX + name
        assert each.example["status"] == each.status


def test_it_knows_where_the_project_is_mounted():
    set_script_prefix("/there/")
    try:
        assert schema()["servers"] == [{"url": "/there"}]
    finally:
        set_script_prefix("/")


def test_a_project_has_it_in_its_own_schema():
    made = SchemaGenerator().get_schema(request=None, public=True)
    assert made["paths"]["/api/jobs/"]["post"]["operationId"] == "job_create"


def test_the_extra_is_not_installed(api, client, user, monkeypatch):
    monkeypatch.setattr(views, "IS_INSTALLED", False)
    answer = api.get("schema/")
    assert (answer.status_code, answer.json()["type"]) == (501, TYPE_PREFIX + "needs-openapi")
    assert "django-job-events[openapi]" in answer.json()["detail"]
    client = Client()
    client.force_login(user)
    assert "django-job-events[openapi]" in client.get("/api/docs/").content.decode()
