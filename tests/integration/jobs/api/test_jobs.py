"""Jobs over HTTP: responses, permissions and invalid requests."""

import base64
import json
from datetime import datetime
from types import SimpleNamespace
from urllib.parse import urlsplit

import jsonschema
import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, BasicAuthentication

from events.archive.archiver import Archiver
from events.publisher import get_publisher
from jobs import inputs, services
from jobs.api.base import JobsAPIView
from jobs.api.openapi.extensions import api_schema
from jobs.models import Job
from tests.integration.jobs.conftest import Api, response_text

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

LEVELS = (255, 600, 900, 960, 1000, 1023, 1024, 20_000)


def body(**fields):
    return {"task_type": "manual", **fields}


def raw(payload):
    return b'{"task_type": "manual", "payload": %s}' % payload


def basic(user, password):
    credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"authorization": f"Basic {credentials}"}


# Responses


def test_create(api, user, log_types):
    response = api.post(
        "jobs/", body(title="Report", payload={"text": "ü€😀", "n": [1, 2.5, None]})
    )
    created = response.json()
    assert response.status_code == 201
    assert response["Location"] == f"/api/jobs/{created['job_id']}/"
    created_at, (attempt,) = created.pop("created_at"), created["attempts"]
    assert datetime.fromisoformat(created_at) <= timezone.now()
    job = Job.objects.get(job_id=created["job_id"])
    assert created == {
        "job_id": job.job_id,
        "task_type": "manual",
        "title": "Report",
        "status": "pending",
        "attempt": 1,
        "progress": 0.0,
        "owner": "anna",
        "error": "",
        "started_at": None,
        "finished_at": None,
        "first_event_at": None,
        "last_event_at": None,
        "event_count": 0,
        "phase": "",
        "usage": {},
        "url": f"/jobs/job/{job.job_id}/",
        "payload": {"text": "ü€😀", "n": [1, 2.5, None]},
        "result": None,
        "attempts": [attempt],
        "worker": None,
        "cost": None,
    }
    assert attempt == {
        "number": 1,
        "status": "pending",
        "created_at": created_at,
        "started_at": None,
        "finished_at": None,
        "error": "",
        "reason": "",
    }
    assert job.owner == user
    assert log_types(job) == ["job_created"]


def test_attempts_and_columns_of_the_log(api, user):
    job = services.job_create(task_type="manual", owner=user)
    services.job_start(job_id=job.job_id)
    get_publisher(epoch=1).publish_event(job.job_id, {"event_type": "phase_update", "phase": "a"})
    services.job_fail(job_id=job.job_id, error="boom", reason="worker_lost")
    Archiver().step()
    detail = api.get(f"jobs/{job.job_id}/").json()
    (first,) = detail["attempts"]
    assert (first["number"], first["status"], first["error"]) == (1, "failed", "boom")
    assert (first["reason"], first["finished_at"]) == ("worker_lost", detail["finished_at"])
    assert (detail["event_count"], detail["phase"]) == (4, "a")
    assert detail["created_at"][:10] <= detail["first_event_at"] <= detail["last_event_at"]
    services.job_retry(job_id=job.job_id)
    detail = api.get(f"jobs/{job.job_id}/").json()
    assert [(each["number"], each["status"]) for each in detail["attempts"]] == [
        (1, "failed"), (2, "pending"),
    ]  # fmt: skip
    (listed,) = api.get("jobs/").json()["results"]
    assert listed == {name: detail[name] for name in listed}
    assert "attempts" not in listed


def test_detail_has_the_latest_worker_and_the_cost(api, user, settings):
    settings.JOB_EVENTS = {
        **settings.JOB_EVENTS,
        "MODEL_PRICES": {"gpt": {"input": 2.0, "output": 10.0}},
    }
    job = services.job_create(task_type="manual", owner=user)
    for number, worker in enumerate(["first@host", "second@host", ""]):
        job.tasks.create(
            attempt=job.attempts.get(),
            external_id=str(number),
            state="finished",
            worker=worker,
            started_at=timezone.now() if worker else None,
        )
    usage = {"gpt-5": {"calls": 1, "input_tokens": 500_000, "output_tokens": 100_000}}
    Job.objects.filter(pk=job.pk).update(usage=usage)
    detail = api.get(f"jobs/{job.job_id}/").json()
    assert (detail["worker"], detail["cost"]) == ("second@host", 2.0)
    assert "worker" not in api.get("jobs/").json()["results"][0]


def test_create_with_job_id(staff_api):
    response = staff_api.post("jobs/", body(job_id="job_001"))
    assert response.json()["job_id"] == "job_001"
    assert staff_api.get("jobs/job_001/").json() == response.json()


def test_errors_of_a_job_id_say_only_that_it_is_not_available(api, user, staff_api, make_job):
    make_job(job_id="job_001")
    user.user_permissions.add(Permission.objects.get(codename="add_job"))
    for response, status in (
        (api.post("jobs/", body(job_id="job_001")), 409),
        (staff_api.post("jobs/", body(job_id="job_001")), 409),
        (api.get("jobs/job_001/"), 404),
    ):
        assert response.status_code == status
        assert response.json()["detail"] == "The job_id job_001 is not available."


@pytest.mark.parametrize("exists", ["job", "log", "nothing"])
def test_choosing_a_job_id_requires_a_permission(api, user, make_job, exists):
    """Otherwise the errors show which ids exist, and a log without a job could be claimed."""
    if exists == "job":
        make_job(job_id="job_001")
    if exists == "log":
        get_publisher().publish_event("job_001", {"event_type": "secret"})
    response = api.post("jobs/", body(job_id="job_001"))
    assert response.status_code == 403
    assert response.json()["type"] == "urn:job-events:permission-denied"
    permission = "job_events_jobs.add_job"
    assert response.json()["detail"] == f"Choosing a job_id requires the permission {permission}."
    assert not Job.objects.filter(owner=user).exists()
    if exists != "job":
        user.user_permissions.add(Permission.objects.get(codename="add_job"))
        assert api.post("jobs/", body(job_id="job_001")).status_code == 201


def test_retrieve(api, user, make_job):
    job = make_job("running", owner=user, payload={"a": 1})
    services.job_complete(job_id=job.job_id, result={"b": [2]})
    response = api.get(f"jobs/{job.job_id}/").json()
    assert (response["status"], response["progress"]) == ("completed", 100.0)
    assert (response["payload"], response["result"]) == ({"a": 1}, {"b": [2]})
    assert response["created_at"] <= response["started_at"] <= response["finished_at"]


def test_list_omits_payload_and_result(api, user, make_job):
    make_job(owner=user)
    (row,) = api.get("jobs/").json()["results"]
    assert "payload" not in row
    assert "result" not in row


def test_list_pages_are_complete_and_stable(api, user, make_job):
    jobs = [make_job(owner=user) for _ in range(7)]
    # Two jobs with the same time: the primary key breaks the tie.
    Job.objects.filter(pk__in=[jobs[4].pk, jobs[5].pk]).update(created_at=jobs[5].created_at)
    listed, url = [], "/api/jobs/?limit=2"
    while url:
        page = api.client.get(url).json()
        assert len(page["results"]) <= 2
        listed += [job["job_id"] for job in page["results"]]
        parts = urlsplit(page["next"] or "")
        url = f"{parts.path}?{parts.query}" if page["next"] else None
        make_job(owner=user)  # a new job does not shift the pages
    assert listed == [job.job_id for job in jobs[::-1]]


def test_previous_page(api, user, make_job):
    jobs = [make_job(owner=user) for _ in range(4)]
    second = api.client.get(api.get("jobs/", {"limit": 2}).json()["next"])
    first = api.client.get(second.json()["previous"]).json()
    assert [job["job_id"] for job in first["results"]] == [jobs[3].job_id, jobs[2].job_id]


def test_list_uses_a_constant_number_of_queries(api, user, make_job, django_assert_max_num_queries):
    for _ in range(10):
        make_job(owner=user)
    with django_assert_max_num_queries(4):
        assert len(api.get("jobs/").json()["results"]) == 10


def test_cancel_and_retry(api, user, make_job, log):
    job = make_job(owner=user)
    response = api.post(f"jobs/{job.job_id}/cancel/")
    assert (response.status_code, response.json()["status"]) == (200, "cancelled")
    response = api.post(f"jobs/{job.job_id}/retry/")
    assert (response.json()["status"], response.json()["attempt"]) == ("pending", 2)
    assert [event.data.get("by") for event in log(job)] == [None, "anna", "anna"]


@pytest.mark.parametrize("body", [{}, {"attempt": 1}])
def test_retry_and_cancel_of_an_earlier_attempt_are_refused(api, user, make_job, body):
    job = make_job(owner=user)
    assert api.post(f"jobs/{job.job_id}/cancel/", {"attempt": 2}).status_code == 409
    assert api.post(f"jobs/{job.job_id}/cancel/", body).status_code == 200
    assert api.post(f"jobs/{job.job_id}/retry/", {"attempt": 2}).status_code == 409
    assert api.post(f"jobs/{job.job_id}/retry/", body).status_code == 200
    refused = api.post(f"jobs/{job.job_id}/cancel/", {"attempt": 1})
    assert refused.status_code == 409
    job.refresh_from_db()
    assert (job.status, job.attempt) == ("pending", 2)


def test_answer_names_the_attempt_of_its_question(api, user, make_job):
    job = make_job(owner=user)
    services.job_start(job_id=job.job_id)
    inputs.input_request(job_id=job.job_id, name="sure", prompt="Sure?")
    answer = {"name": "sure", "value": "yes"}
    assert api.post(f"jobs/{job.job_id}/inputs/", {**answer, "attempt": 2}).status_code == 409
    assert api.post(f"jobs/{job.job_id}/inputs/", {**answer, "attempt": 1}).status_code == 200


@pytest.mark.parametrize("attempt", ["1", True, 0, 1.5, None])
@pytest.mark.parametrize("step", ["cancel", "retry"])
def test_attempt_is_a_whole_number(api, user, make_job, step, attempt):
    job = make_job(owner=user)
    assert api.post(f"jobs/{job.job_id}/{step}/", {"attempt": attempt}).status_code == 400


@pytest.mark.parametrize(
    ("status", "step"),
    [
        ("completed", "cancel"),
        ("failed", "cancel"),
        ("cancelled", "cancel"),
        ("pending", "retry"),
        ("running", "retry"),
        ("completed", "retry"),
    ],
)
def test_invalid_transitions(api, user, make_job, status, step):
    job = make_job(status, owner=user)
    response = api.post(f"jobs/{job.job_id}/{step}/")
    assert response.status_code == 409
    assert f"is {status}" in response_text(response)
    job.refresh_from_db()
    assert job.status == status


def test_created_job_is_dispatched(api, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": {"it": run_it}}
    response = api.post("jobs/", {"task_type": "it", "payload": {"word": "hi"}}).json()
    assert api.get(f"jobs/{response['job_id']}/").json()["result"] == {"said": "hi"}


def run_it(job_id, word):
    services.job_start(job_id=job_id)
    services.job_complete(job_id=job_id, result={"said": word})


@pytest.mark.parametrize(
    ("entry", "permission"),
    [({}, "add_job"), ({"permission": "job_events_jobs.publish_events"}, "publish_events")],
)
def test_starting_a_job_requires_the_permission_of_its_runner(
    api, user, settings, entry, permission
):
    runners = {"report": {"run": lambda job_id: None, **entry}}
    settings.JOB_EVENTS = {"REDIS_URL": settings.JOB_EVENTS["REDIS_URL"], "RUNNERS": runners}
    assert api.post("jobs/", {"task_type": "report"}).status_code == 403
    assert not Job.objects.exists()
    user.user_permissions.add(Permission.objects.get(codename=permission))
    assert api.post("jobs/", {"task_type": "report"}).status_code == 201


def test_function_of_the_project_decides_who_may_start(api, user, settings):
    def may_start(who, task_type):
        assert who == user
        return task_type == "report"

    runners = dict.fromkeys(("report", "other"), lambda job_id: None)
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": runners, "MAY_START": may_start}
    assert api.post("jobs/", {"task_type": "other"}).status_code == 403
    assert api.post("jobs/", {"task_type": "report"}).status_code == 201


def test_task_type_without_a_runner_is_refused_by_default(api, settings):
    runners = dict.fromkeys(("report", "other"), lambda job_id: None)
    changes = {"RUNNERS": runners, "JOBS_WITHOUT_RUNNER": False}
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, **changes}
    response = api.post("jobs/", {"task_type": "reprot"})
    assert response.status_code == 400
    assert response.json()["detail"] == "task_type: The allowed ones are: report, other."
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": {}}
    assert "RUNNERS is empty" in response_text(api.post("jobs/", {"task_type": "reprot"}))
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "JOBS_WITHOUT_RUNNER": True}
    assert api.post("jobs/", {"task_type": "reprot"}).status_code == 201


def test_schema_describes_the_arguments_of_each_runner(api, settings):
    """What it accepts, the API accepts."""
    runners = {
        "none": lambda job_id: None,
        "any": lambda job_id, **arguments: None,
        "it": lambda job_id, word, *, times=1: None,
    }
    changes = {"RUNNERS": runners, "JOBS_WITHOUT_RUNNER": False}
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, **changes}
    schema = json.loads(json.dumps(api_schema(), default=str))
    bodies = [
        {"task_type": task_type, **payload}
        for task_type in (*runners, "other")
        for payload in (
            {}, {"payload": {}}, {"payload": {"word": 1}}, {"payload": {"word": 1, "times": 2}},
            {"payload": {"times": 2}}, {"payload": {"word": 1, "more": 1}}, {"payload": []},
        )
    ]  # fmt: skip
    new_job = {"$ref": "#/components/schemas/JobCreate"}
    is_valid = jsonschema.Draft7Validator({**schema, **new_job}).is_valid
    assert [is_valid(body) for body in bodies] == [
        api.post("jobs/", body).status_code == 201 for body in bodies
    ]


def test_payload_does_not_match_the_runner(api, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": {"it": run_it}}
    for payload in ({}, {"word": 1, "job_id": "x"}, {"word": 1, "more": 1}):
        response = api.post("jobs/", {"task_type": "it", "payload": payload})
        assert response.status_code == 400
        assert [error["field"] for error in response.json()["errors"]] == ["payload"]
    assert not Job.objects.exists()


def test_missing_runner_is_503(api, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": {"it": "nowhere.at_all"}}
    response = api.post("jobs/", {"task_type": "it"})
    assert response.status_code == 503
    assert "nowhere" not in response_text(response)
    assert not Job.objects.exists()


def test_jobs_without_redis(api, redis_down):
    response = api.post("jobs/", body()).json()
    assert api.get("jobs/").json()["results"][0]["job_id"] == response["job_id"]
    assert api.post(f"jobs/{response['job_id']}/cancel/").json()["status"] == "cancelled"


@pytest.mark.parametrize("number", [1e308, -1e308, 1e22, 2**63, 2**64 - 1, -(2**63), 5e-324, 0.1])
def test_extreme_numbers(api, user, make_job, number):
    response = api.post("jobs/", body(payload={"x": number})).json()
    assert response["payload"]["x"] == number
    # PostgreSQL returns 1e308 as an integer, with all digits.
    again = api.get(f"jobs/{response['job_id']}/").json()["payload"]["x"]
    assert type(number)(again) == number


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30])
def test_integers_beyond_64_bits_are_floats(api, number):
    """As in the JSON of JavaScript."""
    job_id = api.post("jobs/", body(payload={"x": number})).json()["job_id"]
    assert float(api.get(f"jobs/{job_id}/").json()["payload"]["x"]) == float(number)


@pytest.mark.parametrize("kind", ["", "application/json", "text/plain"])
@pytest.mark.parametrize(("step", "status"), [("cancel", "pending"), ("retry", "failed")])
def test_steps_without_a_body(api, user, make_job, step, status, kind):
    job = make_job(owner=user, status=status)
    path = f"/api/jobs/{job.job_id}/{step}/"
    response = api.client.generic("POST", path, CONTENT_TYPE=kind, CONTENT_LENGTH="0")
    assert response.status_code == 200, response.content


def test_html_in_fields_is_plain_text(api):
    script = "<script>alert(1)</script>"
    response = api.post("jobs/", body(title=script, payload={script: script}))
    response = api.get(f"jobs/{response.json()['job_id']}/")
    assert response.json()["title"] == script
    assert response.json()["payload"] == {script: script}
    assert response["X-Content-Type-Options"] == "nosniff"


# Permissions


READS = ("jobs/{}/", "jobs/{}/events/", "jobs/{}/events/stream/", "jobs/{}/stream/")
STEPS = ("jobs/{}/cancel/", "jobs/{}/retry/")


@pytest.mark.parametrize("path", READS)
def test_invisible_job_cannot_be_read(other_api, user, make_job, path):
    invisible = other_api.get(path.format(make_job(owner=user, job_id="abc").job_id))
    missing = other_api.get(path.format("xyz"))
    assert (invisible.status_code, missing.status_code) == (404, 404)
    assert response_text(invisible).replace("abc", "xyz") == response_text(missing)


@pytest.mark.parametrize("path", STEPS)
def test_invisible_job_cannot_be_changed(other_api, user, make_job, path):
    job = make_job(owner=user, job_id="abc")
    invisible = other_api.post(path.format("abc"))
    missing = other_api.post(path.format("xyz"))
    assert (invisible.status_code, missing.status_code) == (404, 404)
    assert response_text(invisible).replace("abc", "xyz") == response_text(missing)
    job.refresh_from_db()
    assert job.status == "pending"


def test_job_without_owner_is_visible_to_staff_only(api, staff_api, make_job):
    job = make_job()
    assert api.get(f"jobs/{job.job_id}/").status_code == 404
    assert staff_api.get(f"jobs/{job.job_id}/").status_code == 200


def test_list_by_role(api, other_api, staff_api, make_job, user, other_user):
    own, foreign = make_job(owner=user).job_id, make_job(owner=other_user).job_id

    def listed(api):
        return [job["job_id"] for job in api.get("jobs/").json()["results"]]

    assert listed(api) == [own]
    assert listed(other_api) == [foreign]
    assert listed(staff_api) == [foreign, own]


def test_owners_with_numbers_as_usernames(api, user, make_job, monkeypatch):
    make_job(owner=user)
    monkeypatch.setattr(type(user), "USERNAME_FIELD", "id")
    for owner, count in ((str(user.pk), 1), ("anna", 0)):
        assert len(api.get("jobs/", {"owner": owner}).json()["results"]) == count


def test_staff_may_change_every_job(staff_api, user, make_job):
    job_id = make_job(owner=user).job_id
    assert staff_api.get(f"jobs/{job_id}/").json()["owner"] == "anna"
    assert staff_api.get(f"jobs/{job_id}/events/").status_code == 200
    assert staff_api.post(f"jobs/{job_id}/cancel/").status_code == 200
    assert staff_api.post(f"jobs/{job_id}/retry/").status_code == 200


@pytest.mark.parametrize("path", ["jobs/", *READS])
def test_anonymous_read_is_refused(anonymous_api, user, make_job, path):
    job = make_job(owner=user)
    assert anonymous_api.get(path.format(job.job_id)).status_code in (401, 403)


@pytest.mark.parametrize("path", ["jobs/", *STEPS])
def test_anonymous_change_is_refused(anonymous_api, user, make_job, path):
    job = make_job(owner=user)
    assert anonymous_api.post(path.format(job.job_id), body()).status_code in (401, 403)
    assert Job.objects.get().status == "pending"


def test_basic_authentication(anonymous_api, user):
    assert anonymous_api.get("jobs/", **basic("anna", "anna")).status_code == 200
    assert anonymous_api.post("jobs/", body(), **basic("anna", "anna")).status_code == 201


@pytest.mark.parametrize(
    "header",
    [
        basic("anna", "wrong"),
        basic("unknown", "anna"),
        basic("a\x00nna", "anna"),
        basic("anna", "a\x00"),
        {"authorization": "Basic"},
        {"authorization": "Basic a b"},
        {"authorization": "Basic \xff"},
        {"authorization": "Basic " + "A" * 9000},
    ],
    ids=range(8),
)
def test_wrong_credentials(anonymous_api, user, header):
    assert anonymous_api.get("jobs/", **header).status_code in (401, 403)


def test_inactive_user(api, anonymous_api, user, make_job):
    job = make_job(owner=user)
    user.is_active = False
    user.save()
    assert api.get("jobs/").status_code in (401, 403)
    assert api.get(f"jobs/{job.job_id}/").status_code in (401, 403)
    assert anonymous_api.get("jobs/", **basic("anna", "anna")).status_code in (401, 403)


def test_session_requires_csrf_token(user, make_job):
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    api, job = Api(client), make_job(owner=user)
    for path in ("jobs/", f"jobs/{job.job_id}/cancel/", f"jobs/{job.job_id}/retry/"):
        response = api.post(path, body())
        assert response.status_code == 403
        assert "CSRF" in response_text(response)
    assert [job.status for job in Job.objects.all()] == ["pending"]
    token = "a" * 32
    client.cookies["csrftoken"] = token
    assert api.post("jobs/", body(), **{"x-csrftoken": token}).status_code == 201


# Invalid requests


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "required"),
        (b"{", "not JSON"),
        (b"nonsense", "not JSON"),
        (b"[1, 2]", "dictionary"),
        (b'["task_type"]', "dictionary"),
        (b"5", "dictionary"),
        (b'"text"', "dictionary"),
        (b"true", "dictionary"),
        (b"null", "data"),
        (b"\xff\xfe\x00", "not JSON"),
        (b'{"task_type": "a"}{"task_type": "b"}', "not JSON"),
        (b'{"task_type": "manual",}', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        ('{"task_type": "manual"}'.encode("utf-16"), "not JSON"),
        (raw(b"NaN"), "not JSON"),
        (raw(b'{"x": NaN}'), "not JSON"),
        (raw(b'{"x": Infinity}'), "not JSON"),
        (raw(b'{"x": -Infinity}'), "not JSON"),
        (raw(b'{"x": 1e999}'), "not JSON"),
        (raw(b'{"x": %s}' % (b"9" * 200_000)), "not JSON"),
        (raw(b'{"x": "\\ud800"}'), "not JSON"),
        (raw(b'{"x": "\\udc00\\ud800"}'), "not JSON"),
        (raw(b'{"x": "\xed\xa0\x80"}'), "not JSON"),
        (raw(b'{"x": "a\x00b"}'), "not JSON"),
        (raw(b'{"x": "\\u0000"}'), "NUL"),
        (raw(b'{"\\u0000": 1}'), "NUL"),
        (raw(b'{"a": [{"b": "c\\u0000"}]}'), "a[0].b"),
        (raw(b"[]"), "object"),
        (raw(b'"text"'), "object"),
        (raw(b"5"), "object"),
        (raw(b"true"), "object"),
        (raw(b"null"), "null"),
    ],
    ids=range(32),
)  # fmt: skip
def test_invalid_bodies(api, text, expected):
    response = api.post("jobs/", text)
    assert response.status_code == 400
    assert expected in response_text(response)
    assert not Job.objects.exists()


@pytest.mark.parametrize("levels", LEVELS)
def test_payload_too_deep(api, levels):
    for text in (b'{"x":' * levels + b"1" + b"}" * levels, b'{"x":%s}' % nested(levels - 1)):
        assert api.post("jobs/", raw(text)).status_code == 400
    assert not Job.objects.exists()


def nested(levels):
    return b"[" * levels + b"]" * levels


def test_payload_of_maximum_depth(api):
    response = api.post("jobs/", raw(b'{"x":%s}' % nested(253)))
    assert response.status_code == 201
    assert api.get(f"jobs/{response.json()['job_id']}/").status_code == 200


WRONG = {
    "task_type": [None, "", " ", "a b", "a/b", "a\x00", "x" * 101, [], {}, True, "<script>"],
    "title": [None, "a\x00b", "x" * 201, [], False],
    "job_id": [
        None,
        "",
        "a b",
        "a/b",
        "../abc",
        "ü",
        "a\x00",
        "x" * 65,
        "x" * 70_000,
        [],
        {"a": 1},
    ],
}


@pytest.mark.parametrize("field", WRONG)
def test_invalid_fields(api, field):
    for value in WRONG[field]:
        response = api.post("jobs/", {**body(), field: value})
        assert response.status_code == 400, value
        assert field in response_text(response)
        assert len(response_text(response)) < 500
    assert not Job.objects.exists()


@pytest.mark.parametrize("fill", [b"a", b"\\u0001"])
def test_body_too_large(api, fill):
    text = raw(b'{"x": "%s"}' % (fill * (3 * 1024 * 1024 // len(fill))))
    response = api.post("jobs/", text)
    assert response.status_code == 413
    assert "larger than" in response_text(response)
    assert not Job.objects.exists()


def test_payload_above_its_limit(api):
    response = api.post("jobs/", body(payload={"x": "a" * 1024 * 1024}))
    assert response.status_code == 400
    assert "1048576" in response_text(response)


OTHER_TYPES = (
    "text/plain",
    "text/html",
    "application/xml",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "nonsense",
    "",
    "application/json-seq",
)


@pytest.mark.parametrize("size", [10, 3 * 1024 * 1024])
def test_unsupported_media_types(api, size):
    for kind in OTHER_TYPES:
        response = api.send("post", "jobs/", b"a" * size, kind)
        assert response.status_code in (400, 413, 415), kind
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    "kind", ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded"]
)
def test_large_form_without_csrf_token(user, kind):
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    client.cookies["csrftoken"] = "a" * 32
    response = Api(client).send("post", "jobs/", b"a=" * 2 * 1024 * 1024, kind)
    assert response.status_code in (403, 413, 415)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "APPLICATION/JSON"])
def test_variants_of_the_json_media_type(api, kind):
    assert api.send("post", "jobs/", json.dumps(body()), kind).status_code == 201


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_methods_not_allowed(api, user, make_job, method):
    job = make_job(owner=user)
    detail = f"jobs/{job.job_id}/"
    for path in ("jobs/", f"{detail}cancel/", *([detail] if method != "delete" else [])):
        assert api.send(method, path).status_code == 405


def test_actions_require_post(api, user, make_job):
    job = make_job(owner=user)
    assert api.get(f"jobs/{job.job_id}/cancel/").status_code == 405
    assert api.get(f"jobs/{job.job_id}/retry/").status_code == 405


def test_invalid_job_id_in_the_url(api):
    for job_id in ("a%20b", "%00", "a%00", "%ED%A0%80", "ü", "x" * 65, "$", "a.b", "<b>"):
        for path in READS:
            assert api.get(path.format(job_id)).status_code == 400, job_id
        for path in STEPS:
            assert api.post(path.format(job_id)).status_code == 400, job_id


BAD_QUERIES = [
    *[{"limit": limit} for limit in ("0", "-1", "201", "abc", "1.5", "", "9" * 5000, "٣", "\x00")],
    *[{"cursor": cursor} for cursor in ("", "nonsense", "ü", "\x00", "0", "1.", "--1.0", "1.0000")],
    *[{"cursor": cursor} for cursor in ("9" * 18 + ".0", "1.0.0", "+1.0", "1.-0")],
    *[{name: "x"} for name in ("page", "status", "", "\x00", "<script>", "a" * 5000)],
    *[{"status": "running", name: "x"} for name in ("created_after", "created_before", "ordering")],
    *[{"ordering": order} for order in ("", "id", "title", "--created_at", "\x00")],
    *[{name: "a\x00"} for name in ("owner", "task_type", "search", "status")],
    *[{name: "a" * 201} for name in ("owner", "task_type", "search")],
]


def test_invalid_parameters_of_the_list(api, user, make_job):
    make_job(owner=user)
    for query in BAD_QUERIES:
        response = api.get("jobs/", query)
        assert response.status_code == 400, query
        assert len(response.json()["detail"]) < 400
    assert api.get("jobs/", {"format": "xml"}).status_code == 404


@pytest.mark.parametrize("accept", ["application/xml", "text/event-stream", "image/*", "nonsense"])
def test_not_acceptable(api, accept):
    assert api.get("jobs/", accept=accept).status_code == 406


def test_client_that_accepts_problems_alone(api, user, make_job):
    """Generated clients do so, if the response to a success has no body."""
    job = make_job("failed", owner=user)
    for accept in ("application/problem+json", "application/problem+json; charset=utf-8"):
        assert api.get("jobs/", accept=accept).status_code == 200
    response = api.client.delete(
        f"/api/jobs/{job.job_id}/", headers={"accept": "application/problem+json"}
    )
    assert response.status_code == 204


def test_browsable_api(api, user, make_job):
    job = make_job("failed", owner=user, title="<script>alert(1)</script>", payload={"x": "<b>"})
    paths = ["jobs/", *(path.format(job.job_id) for path in READS if "stream" not in path)]
    for path in [*paths, f"jobs/{job.job_id}/stream/", "jobs/unknown/"]:
        response = api.client.get(f"/api/{path}", headers={"accept": "text/html"})
        assert response["Content-Type"].startswith("text/html")
        assert b"<script>alert(1)" not in response.content
        assert response.status_code == (404 if "unknown" in path else 200)


def test_session_authentication_is_always_enabled(client, user, monkeypatch):
    """The pages use the session, even if the API of the project requires tokens."""
    monkeypatch.setattr(JobsAPIView, "authentication_classes", [BasicAuthentication])
    client.force_login(user)
    assert client.get("/api/jobs/").status_code == 200


class StatelessAuthentication(BaseAuthentication):
    """Authenticates like a stateless token: its user is no model."""

    def authenticate(self, request):
        pk = request.headers.get("Token-User")
        user = SimpleNamespace(pk=pk, is_authenticated=True, is_active=True, is_superuser=True)
        return (user, "a token") if pk else None


def test_user_of_a_stateless_token(anonymous_api, user, make_job, monkeypatch):
    monkeypatch.setattr(JobsAPIView, "authentication_classes", [StatelessAuthentication])
    token = {"Token-User": str(user.pk)}
    created = anonymous_api.post("jobs/", body(), **token)
    assert created.json()["owner"] == "anna"
    path = f"jobs/{created.json()['job_id']}"
    assert anonymous_api.get(f"{path}/", **token).status_code == 200
    ticket = anonymous_api.post(f"{path}/ticket/", {}, **token).json()["ticket"]
    assert anonymous_api.get(f"{path}/events/poll/?ticket={ticket}").status_code == 200
    user.delete()
    assert anonymous_api.get("jobs/", **token).status_code in (401, 403)


def test_unknown_field(api):
    response = api.post("jobs/", {"task_type": "x", "titel": "My job"})
    assert response.status_code == 400
    assert "Known fields: task_type, title, job_id, payload" in str(response.json())
