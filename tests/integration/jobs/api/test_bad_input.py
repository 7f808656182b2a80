"""Hostile values in every parameter of every operation, with the same result on every database.

Invalid bodies and headers are tested in test_jobs.py and test_publishing.py; random requests by
schemathesis in tests/integration/site/test_schema.py.
"""

import io

import pytest

from events.publisher import get_publisher
from jobs.api.openapi.extensions import api_schema as schema
from jobs.services import job_create, job_fail
from tests.integration.jobs.conftest import archived

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

SCRIPT = "<script>alert(1)</script>"
FORMULA = "=HYPERLINK(1)"
VALUES = [
    "", " ", "\x00", "a\x00b", "%00", b"\xed\xa0\x80", b"\xff\xfe", "\u202e", "*", "**", "a\nb",
    "\r\nSet-Cookie: a=b", "' OR 1=1 --", '"; DROP TABLE job_events_jobs_job; --', "../",
    "a/../b", "NaN",
    "Infinity", "-0", "-1", "1e400", "9" * 200_000, "[" * 20_000, "x" * 70_000, "__proto__", SCRIPT,
    FORMULA, "${jndi:ldap://a}", "{{7*7}}", "%s%n", "$", "0", "1-1,2-2", "None", "null",
    "99999999999999-0", "18446744073709551615-18446744073709551615", "18446744073709551616-0",
]  # fmt: skip
GET_OPERATIONS = [
    (path, [each["name"] for each in methods["get"]["parameters"] if each["in"] == "query"])
    for path, methods in schema()["paths"].items()
    if "get" in methods
]
# 501: the WSGI client cannot stream; invalid parameters are refused before.
ALLOWED = {200, 400, 401, 403, 404, 410, 501}


@pytest.fixture
def job(user, other_user):
    """A job of anna with hostile values in every field, and a job of bert."""
    fields = {"title": SCRIPT, "payload": {SCRIPT: FORMULA}}
    job = job_create(job_id="abc", owner=user, task_type="manual", **fields)
    event = {"event_type": SCRIPT, "text": SCRIPT, FORMULA: "a\r\nevent: end\r\ndata: {}\r\n\r\n"}
    get_publisher().publish_event("abc", event)
    job_create(job_id="other", owner=other_user, task_type="manual")
    archived()
    return job


@pytest.mark.extended
@pytest.mark.parametrize(
    ("path", "names"), GET_OPERATIONS, ids=[path for path, _ in GET_OPERATIONS]
)
def test_hostile_parameter_values(api, job, path, names):
    path = path.format(job_id="abc").removeprefix("/api/")
    refusals = 0
    for name in [*names, "data.a", "data." + "x" * 300, "data.\x00", "nothing", "ticket"]:
        for value in VALUES:
            response = get(api, path, {name: value})
            assert response.status_code in ALLOWED, (name, value)
            refusals += response.status_code == 400
            assert len(content_of(response)) < 5000, (name, value)
    assert refusals


def content_of(response):
    return response.getvalue() if response.streaming else response.content


def get(api, path, query):
    response = api.client.get(f"/api/{path}", query)
    is_file = response.streaming or response["Content-Type"].startswith("text")
    return response if is_file else api._json(response)


INVALID_JOB_IDS = ["..", "*", "a.b", "a%00b", "%ff", "x" * 65, "x" * 70_000, "%0d%0aX: y"]


@pytest.mark.parametrize("job_id", INVALID_JOB_IDS, ids=range(len(INVALID_JOB_IDS)))
@pytest.mark.parametrize("rest", ["", "events/", "events/export/", "events/stream/", "stream/"])
def test_invalid_job_ids(api, job, job_id, rest):
    response = api.client.get(f"/api/jobs/{job_id}/{rest}")
    assert response.status_code in (400, 404)
    assert "X" not in response.headers
    assert len(response.content) < 5000


def test_cursor_of_another_job(api, other_api, job):
    """A cursor is a time, and contains no data of the other job."""
    [created] = other_api.get("jobs/other/events/").json()["results"]
    page = api.get("jobs/abc/events/", {"after": created["id"]}).json()
    assert page["results"] == []
    assert page["cursor"] == created["id"]
    assert len(api.get("jobs/abc/events/", {"before": created["id"]}).json()["results"]) == 2


def test_cursor_in_the_future(api, job):
    future = "99999999999999-5"
    page = api.get("jobs/abc/events/", {"after": future}).json()
    assert (page["results"], page["cursor"]) == ([], future)
    assert len(api.get("jobs/abc/events/", {"before": future}).json()["results"]) == 2


HTML = [
    "jobs/", "jobs/abc/", "jobs/abc/events/", "jobs/abc/stream/", "events/", "job-counts/",
    f"jobs/?search={SCRIPT}", f"jobs/abc/events/?after={SCRIPT}", f"events/?{SCRIPT}=1",
    f"jobs/{SCRIPT}/",
]  # fmt: skip


@pytest.mark.parametrize("path", HTML)
def test_browsable_api_escapes_html(api, job, path):
    job_fail(job_id="abc", error=SCRIPT)
    response = api.client.get(f"/api/{path}", headers={"Accept": "text/html"})
    assert response["Content-Type"].startswith("text/html")
    assert SCRIPT not in response.content.decode()


@pytest.mark.parametrize("path", ["jobs/", "jobs/abc/events/"])
def test_large_body_is_not_read_completely(staff_api, job, path):
    class Body(io.RawIOBase):
        """The unbuffered body that a server passes on; counts the bytes that are read."""

        bytes_read = 0

        def read(self, size=-1):
            assert size > 0
            self.bytes_read += size
            return b" " * size

    body = Body()
    environ = {
        "CONTENT_LENGTH": str(100 * 1024**2),
        "CONTENT_TYPE": "application/json",
        "wsgi.input": body,
    }
    response = staff_api.client.generic("POST", f"/api/{path}", **environ)
    assert response.status_code == 413
    assert response.json()["type"] == "urn:job-events:body-too-large"
    assert 0 < body.bytes_read < 3 * 1024**2
