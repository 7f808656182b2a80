"""The API included without the pages, under a prefix and a namespace of the project."""

from types import ModuleType

import pytest
from django.urls import NoReverseMatch, include, path, reverse

from jobs.api.openapi.extensions import api_schema
from jobs.api.openapi.views import _schema

pytestmark = pytest.mark.django_db

INCLUDED = {"no namespace": "jobs.api.urls", "a namespace": ("jobs.api.urls", "mine")}


@pytest.fixture(params=sorted(INCLUDED))
def api_only(request, settings):
    module = ModuleType("api_only_urls")
    inner = [path("v2/", include(INCLUDED[request.param]))]
    module.urlpatterns = [path("rest/", include((inner, "outer")))]
    settings.ROOT_URLCONF = module
    _schema.cache_clear()
    yield
    _schema.cache_clear()


def test_there_are_no_pages(api_only, client, user):
    client.force_login(user)
    assert client.get("/jobs/").status_code == 404
    with pytest.raises(NoReverseMatch):
        reverse("job_events:list")


def test_location_of_a_new_job(api_only, client, staff):
    client.force_login(staff)
    fields = {"task_type": "manual", "job_id": "abc"}
    created = client.post("/rest/v2/jobs/", fields, content_type="application/json")
    assert created.status_code == 201
    assert created["Location"] == "/rest/v2/jobs/abc/"
    job = client.get(created["Location"]).json()
    assert (job["job_id"], job["url"]) == ("abc", None)


def test_link_to_the_next_page(api_only, client, user, make_job):
    for _ in range(2):
        make_job(owner=user)
    client.force_login(user)
    page = client.get("/rest/v2/jobs/?limit=1").json()
    assert page["next"].startswith("http://testserver/rest/v2/jobs/?")


def test_schema_and_its_page(api_only, client, user):
    assert "/rest/v2/jobs/{job_id}/events/" in api_schema()["paths"]
    assert client.get("/rest/v2/schema/").status_code in (401, 403)
    client.force_login(user)
    assert "/rest/v2/jobs/" in client.get("/rest/v2/schema/").json()["paths"]
    page = client.get("/rest/v2/docs/").text
    assert '"schemaUrl": "/rest/v2/schema/"' in page
