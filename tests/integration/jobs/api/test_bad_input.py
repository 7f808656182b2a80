"""What nobody should send, in every parameter of every operation: the same on every database.

What is wrong in a body or a header is in test_api.py and test_publishing_api.py; schemathesis, in
integration/site/test_schema.py, sends what it makes up.
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
READING = [
    (path, [each["name"] for each in methods["get"]["parameters"] if each["in"] == "query"])
    for path, methods in schema()["paths"].items()
    if "get" in methods
]
# In-process a stream cannot be had; what it refuses, it refuses before.
ALLOWED = {200, 400, 401, 403, 404, 501}


@pytest.fixture
def job(user, other_user):
    """A job of anna's whose every field is to be feared, and one of bert's."""
    fields = {"title": SCRIPT, "payload": {SCRIPT: FORMULA}}
    job = job_create(job_id="abc", owner=user, task_type="manual", **fields)
    event = {"event_type": SCRIPT, "text": SCRIPT, FORMULA: "a\r\nevent: end\r\ndata: {}\r\n\r\n"}
    get_publisher().publish_event("abc", event)
    job_create(job_id="other", owner=other_user, task_type="manual")
    archived()
    return job


@pytest.mark.parametrize(("path", "names"), READING, ids=[path for path, _ in READING])
def test_no_value_of_a_parameter_breaks_anything(api, job, path, names):
    path = path.format(job_id="abc").removeprefix("/api/")
    refused = 0
    for name in [*names, "data.a", "data." + "x" * 300, "data.\x00", "nothing", "ticket"]:
        for value in VALUES:
            answer = asked(api, path, {name: value})
            assert answer.status_code in ALLOWED, (name, value)
            refused += answer.status_code == 400
            assert len(content_of(answer)) < 5000, (name, value)
    assert refused


def content_of(answer):
    return answer.getvalue() if answer.streaming else answer.content


def asked(api, path, query):
    answer = api.client.get(f"/api/{path}", query)
    is_file = answer.streaming or answer["Content-Type"].startswith("text")
    return answer if is_file else api._json(answer)


NO_ID = ["..", "*", "a.b", "a%00b", "%ff", "x" * 65, "x" * 70_000, "%0d%0aX: y"]


@pytest.mark.parametrize("job_id", NO_ID, ids=range(len(NO_ID)))
@pytest.mark.parametrize("rest", ["", "events/", "events/export/", "events/stream/", "stream/"])
def test_a_job_id_that_is_none(api, job, job_id, rest):
    answer = api.client.get(f"/api/jobs/{job_id}/{rest}")
    assert answer.status_code in (400, 404)
    assert "X" not in answer.headers
    assert len(answer.content) < 5000


def test_a_cursor_of_another_job_is_a_place_in_this_one(api, other_api, job):
    """It says when, and nothing of the other job."""
    [created] = other_api.get("jobs/other/events/").json()["results"]
    page = api.get("jobs/abc/events/", {"after": created["id"]}).json()
    assert page["results"] == []
    assert page["cursor"] == created["id"]
    assert len(api.get("jobs/abc/events/", {"before": created["id"]}).json()["results"]) == 2


def test_a_cursor_from_the_future_has_nothing_behind_it(api, job):
    future = "99999999999999-5"
    for path in ("jobs/abc/events/", "jobs/abc/events/poll/"):
        page = api.get(path, {"after": future}).json()
        assert (page["results"], page["cursor"]) == ([], future)
    assert len(api.get("jobs/abc/events/", {"before": future}).json()["results"]) == 2


HTML = [
    "jobs/", "jobs/abc/", "jobs/abc/events/", "jobs/abc/stream/", "events/", "job-counts/",
    f"jobs/?search={SCRIPT}", f"jobs/abc/events/?after={SCRIPT}", f"events/?{SCRIPT}=1",
    f"jobs/{SCRIPT}/",
]  # fmt: skip


@pytest.mark.parametrize("path", HTML)
def test_html_is_inert_in_the_browsable_api(api, job, path):
    job_fail(job_id="abc", error=SCRIPT)
    answer = api.client.get(f"/api/{path}", headers={"Accept": "text/html"})
    assert answer["Content-Type"].startswith("text/html")
    assert SCRIPT not in answer.content.decode()


@pytest.mark.parametrize("path", ["jobs/", "jobs/abc/events/"])
def test_of_one_hundred_megabytes_few_are_read(staff_api, job, path):
    class Body(io.RawIOBase):
        """As a server hands it over: what is not asked for stays where it is."""

        taken = 0

        def read(self, size=-1):
            assert size > 0
            self.taken += size
            return b" " * size

    body = Body()
    given = {
        "CONTENT_LENGTH": str(100 * 1024**2),
        "CONTENT_TYPE": "application/json",
        "wsgi.input": body,
    }
    answer = staff_api.client.generic("POST", f"/api/{path}", **given)
    assert answer.status_code == 413
    assert answer.json()["type"] == "urn:job-events:body-too-large"
    assert 0 < body.taken < 3 * 1024**2
