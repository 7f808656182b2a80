"""Idempotent requests: publishing over HTTP, and creating jobs."""

import json
import threading

import pytest
from django.contrib.auth.models import Permission
from django.db import connection

from events.history import read_events
from events.streams.clients import get_redis
from jobs import services
from jobs.models import Job
from tests.integration.jobs.conftest import Api, archived

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

PATH = "jobs/abc/events/"
KEY = {"Idempotency-Key": "abc-1"}


@pytest.fixture
def job(user, make_job):
    user.user_permissions.add(Permission.objects.get(codename="publish_events"))
    return make_job(owner=user, job_id="abc")


def numbers():
    return [event.data["n"] for event in read_events("abc") if "n" in event.data]


def ids(response):
    assert response.status_code == 201, response.content
    return response.json()["ids"]


def as_producer(sequence, name="worker", epoch=None):
    headers = {"Producer-Id": name, "Producer-Sequence": str(sequence)}
    return headers if epoch is None else {**headers, "Producer-Epoch": str(epoch)}


def test_one_event_and_an_array(api, job):
    first = ids(api.post(PATH, {"event_type": "said", "n": 1}))
    more = ids(api.post(PATH, [{"n": 2}, {"n": 3}]))
    log = read_events("abc")[1:]
    assert [event.id for event in log] == first + more
    assert [event.event_type for event in log] == ["said", "unknown", "unknown"]
    assert all(event.timestamp for event in log)


def test_publishing_requires_a_permission(user, api, other_api, make_job):
    make_job(owner=user, job_id="abc")
    response = api.post(PATH, {"n": 1})
    assert response.status_code == 403
    assert "job_events_jobs.publish_events" in response.json()["detail"]
    assert other_api.post(PATH, {"n": 1}).status_code == 404
    assert numbers() == []


@pytest.mark.parametrize("headers", [KEY, as_producer(1), as_producer(7, epoch=1)])
def test_repeated_request(api, job, headers):
    first = ids(api.post(PATH, [{"n": 1}, {"n": 2}], **headers))
    assert ids(api.post(PATH, [{"n": 1}, {"n": 2}], **headers)) == first
    archived()
    assert ids(api.post(PATH, [{"n": 1}, {"n": 2}], **headers)) == first
    get_redis().delete("{job_events:abc}:producers")  # the stream is sufficient
    assert ids(api.post(PATH, [{"n": 1}, {"n": 2}], **headers)) == first
    assert numbers() == [1, 2]


def test_keys_are_per_user(api, staff_api, job):
    ids(api.post(PATH, {"n": 1}, **KEY))
    ids(staff_api.post(PATH, {"n": 2}, **KEY))
    ids(api.post(PATH, {"n": 3}, **{"Idempotency-Key": "abc-2"}))
    assert numbers() == [1, 2, 3]


OTHER_EVENTS = [{"n": 2}, [{"n": 1}, {"n": 2}], {"n": 1, "timestamp": "2026-11-22T02:52:40Z"}]


@pytest.mark.parametrize("other", OTHER_EVENTS)
def test_key_of_a_request_with_other_events(api, job, other):
    first = ids(api.post(PATH, {"n": 1}, **KEY))
    response = api.post(PATH, other, **KEY)
    assert (response.status_code, response.json()["type"]) == (422, "urn:job-events:key-used")
    archived()
    assert api.post(PATH, other, **KEY).status_code == 422
    assert ids(api.post(PATH, {"n": 1}, **KEY)) == first
    assert numbers() == [1]


def test_key_of_an_earlier_attempt(api, job):
    headers = {**KEY, "Producer-Epoch": "1"}
    first = ids(api.post(PATH, {"n": 1}, **headers))
    services.job_fail(job_id="abc", error="boom")
    services.job_retry(job_id="abc")
    assert ids(api.post(PATH, {"n": 1}, **headers)) == first
    assert ids(api.post(PATH, {"n": 1}, **{**KEY, "Producer-Epoch": "2"})) == first
    assert api.post(PATH, {"n": 2}, **headers).status_code == 422
    assert numbers() == [1]


def test_longest_key(api, job):
    headers = {"Idempotency-Key": "x" * 200}
    assert ids(api.post(PATH, {"n": 1}, **headers)) == ids(api.post(PATH, {"n": 1}, **headers))
    assert numbers() == [1]


def test_producer_out_of_sequence(api, job):
    ids(api.post(PATH, [{"n": 1}, {"n": 2}], **as_producer(1)))
    for sequence in (4, 2, 1, 100):
        response = api.post(PATH, {"n": 9}, **as_producer(sequence))
        if sequence == 2:  # has the end of the last request, and is treated as a part of it
            assert response.status_code == 201
            continue
        assert response.status_code == 409
        assert response.json()["type"] == "urn:job-events:out-of-order"
        assert response.json()["expected"] == 3
    ids(api.post(PATH, {"n": 3}, **as_producer(3)))
    ids(api.post(PATH, {"n": 4}, **as_producer(1, name="another")))
    assert numbers() == [1, 2, 3, 4]


def test_two_requests_repeated_as_one(api, job):
    """Both are in the log, but the state has only the ids of the second one."""
    for number in (1, 2):
        ids(api.post(PATH, {"n": number}, **as_producer(number)))
    response = api.post(PATH, [{"n": 1}, {"n": 2}], **as_producer(1))
    assert (response.status_code, response.json()["expected"]) == (409, 3)
    assert numbers() == [1, 2]


def test_producer_of_an_older_attempt(api, job):
    ids(api.post(PATH, {"n": 1}, **as_producer(1, epoch=1)))
    services.job_fail(job_id="abc", error="boom")
    services.job_retry(job_id="abc")
    response = api.post(PATH, {"n": 2}, **as_producer(2, epoch=1))
    assert (response.status_code, response.json()["type"]) == (403, "urn:job-events:stale-epoch")
    assert api.post(PATH, {"n": 2}, **{"Producer-Epoch": "1"}).status_code == 403
    ids(api.post(PATH, {"n": 3}, **as_producer(1, epoch=2)))
    assert numbers() == [1, 3]


BAD_HEADERS = [
    {"Producer-Id": "a"}, {"Producer-Sequence": "1"}, {**KEY, **as_producer(1)},
    *[{"Producer-Id": "a", "Producer-Sequence": n} for n in ("0", "-1", "x", "1.5", "9" * 16, "")],
    *[{"Producer-Epoch": n} for n in ("-1", "x", "", "2147483648")],
    *[{"Idempotency-Key": key} for key in ("", " ", "a b", "x" * 201, "\x7f", "ü")],
    *[{"Producer-Id": name, "Producer-Sequence": "1"} for name in ("", "a b", "x" * 201)],
]  # fmt: skip


@pytest.mark.parametrize("headers", BAD_HEADERS)
def test_invalid_headers(api, job, headers):
    response = api.post(PATH, {"n": 1}, **headers)
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] in {*headers, "Producer-Sequence", "Producer-Id"}
    assert numbers() == []


DEEP = b'{"event_type":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
BAD_BODIES = [
    b"", b"x", b"null", b"1", b'"x"', b"[]", b"[1]", b"[{}, null]", b"[[{}]]", b"{\"n\": NaN}",
    b'{"n": Infinity}', b'{"event_type": 5}', b'{"event_type": ""}', b'{"event_type": "a\\nb"}',
    b'{"timestamp": 5}', b'{"n": "\\ud800"}', b'{"\\ud800": 1}', b"\xff\xfe", DEEP,
    b"[" + b"{}," * 1000 + b"{}]",
    b'{"event_type": "' + b"x" * 129 + b'"}', b'{"text": "' + b"x" * 262_144 + b'"}',
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(BAD_BODIES)))
def test_invalid_bodies(api, job, number):
    response = api.post(PATH, BAD_BODIES[number])
    assert response.status_code == 400, BAD_BODIES[number][:60]
    assert len(response.json()["detail"]) < 400
    assert len(read_events("abc")) == 1


def test_body_too_large(api, job):
    events = b"[" + b",".join([b'{"text": "%s"}' % (b"x" * 200_000)] * 12) + b"]"
    assert api.post(PATH, events).status_code == 413
    assert len(read_events("abc")) == 1


def test_values_are_preserved(api, job):
    event = {"event_type": "a", "__proto__": {"x": 1}, "text": "\u2028</script>", "n": 10**15}
    ids(api.post(PATH, event))
    assert api.get(PATH).json()["results"][-1]["data"].items() >= event.items()


# Creating a job


def created(response):
    return response.status_code, response.json().get("job_id")


def test_repeated_request_creates_one_job(api, other_api, user):
    job = {"task_type": "manual", "title": "One", "payload": {"a": [1.5, {"b": None}], "c": 1e22}}
    code, job_id = created(api.post("jobs/", job, **KEY))
    assert code == 201
    again = api.post("jobs/", dict(reversed(job.items())), **KEY)
    assert created(again) == (200, job_id)
    assert again["Location"].endswith(f"/{job_id}/")
    assert Job.objects.count() == 1
    assert len(read_events(job_id)) == 1
    assert created(other_api.post("jobs/", job, **KEY))[0] == 201
    assert created(api.post("jobs/", job))[0] == 201


def test_key_of_another_request(api):
    api.post("jobs/", {"task_type": "manual"}, **KEY)
    for other in ({"task_type": "other"}, {"task_type": "manual", "title": "Tea"}):
        response = api.post("jobs/", other, **KEY)
        assert (response.status_code, response.json()["type"]) == (422, "urn:job-events:key-used")
    assert Job.objects.count() == 1


def test_repeated_request_with_job_id(staff_api):
    api, job = staff_api, {"task_type": "manual", "job_id": "abc"}
    assert created(api.post("jobs/", job, **KEY)) == (201, "abc")
    assert created(api.post("jobs/", job, **KEY)) == (200, "abc")
    assert api.post("jobs/", job).status_code == 409
    assert api.post("jobs/", job, **{"Idempotency-Key": "other"}).status_code == 409


def test_key_of_a_failed_request_is_free(api):
    assert api.post("jobs/", {"task_type": "a b"}, **KEY).status_code == 400
    assert api.post("jobs/", {"task_type": "manual"}, **KEY).status_code == 201
    assert api.post("jobs/", {"task_type": "manual"}, **{"Idempotency-Key": "ü"}).status_code == 400


def test_concurrent_repeated_requests(user):
    responses = []

    def create():
        from django.test import Client

        client = Client()
        client.force_login(user)
        responses.append(created(Api(client).post("jobs/", {"task_type": "manual"}, **KEY)))
        connection.close()

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(code for code, _ in responses) == [200] * 7 + [201]
    assert len({job_id for _, job_id in responses}) == Job.objects.count() == 1
    assert len(read_events(responses[0][1])) == 1


def test_json_lines_are_refused(api, job):
    lines = b"\n".join(json.dumps({"n": n}).encode() for n in range(2))
    assert api.post(PATH, lines).status_code == 400
