"""Conditions on history, search in all logs, filters and counts of jobs, caching."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from django.utils import timezone

from events import counts
from events.archive import lookups
from events.history import search
from events.publisher import get_publisher
from events.streams.clients import get_redis
from jobs import services
from jobs.models import Job
from tests.integration.jobs.conftest import archived

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def publish(job_id, *texts, event_type="said"):
    events = [{"event_type": event_type, "text": text, "n": n} for n, text in enumerate(texts)]
    return get_publisher().publish_events(job_id, events)


def found(api, path="events/", **query):
    response = api.get(path, query)
    assert response.status_code == 200, response.content
    return [event["data"]["text"] for event in response.json()["results"]]


def pages(api, path, **query):
    """Return the results of all pages, following their links."""
    results, response = [], api.get(path, query).json()
    while True:
        results += response["results"]
        if not response["next"]:
            return results
        parts = urlsplit(response["next"])
        response = api.client.get(f"{parts.path}?{parts.query}").json()


@pytest.fixture
def jobs(user, other_user, make_job):
    """Two jobs of anna and one of bert, with the same words."""
    for job_id, owner in (("one", user), ("two", user), ("theirs", other_user)):
        make_job(owner=owner, job_id=job_id, task_type=f"type_{job_id}", title=f"The {job_id}")
        publish(job_id, f"tea for {job_id}", f"milk for {job_id}")
    archived()


@pytest.fixture(params=[(0, 0), (1000, 200)], ids=["scan", "index"])
def query_plan(request, monkeypatch):
    few, few_logs = request.param
    monkeypatch.setattr(lookups, "MAX_INDEXED_ROWS", few)
    monkeypatch.setattr(search, "MAX_LISTED_LOGS", few_logs)


# The history of a job


def test_history_with_conditions(api, jobs):
    path = "jobs/one/events/"
    assert found(api, path, event_type="said") == ["tea for one", "milk for one"]
    assert found(api, path, event_type=["said", "other"], search="TEA") == ["tea for one"]
    assert found(api, path, search="mil*") == ["milk for one"]
    assert found(api, path, **{"data.n": "1"}) == ["milk for one"]
    assert found(api, path, **{"data.n": "0", "data.text": "tea for one"}) == ["tea for one"]
    assert found(api, path, search="coffee") == []
    assert found(api, path, event_type="said", format="json") == ["tea for one", "milk for one"]
    ascending = pages(api, path, event_type="said", limit=1)
    assert [event["data"]["n"] for event in ascending] == [0, 1]
    descending = pages(api, path, event_type="said", limit=1, order="desc")
    assert descending == ascending[::-1]


def test_history_by_time(api, user, make_job):
    """Conditions on time use the time of the append, in the id, not the timestamp."""
    make_job(owner=user, job_id="abc")
    for number in range(5):
        entry = {"data": f'{{"event_type": "said", "text": "{number}", "timestamp": "1999"}}'}
        get_redis().xadd("job_events:dated", entry, id=f"{1_700_000_000_000 + number}-0")
    make_job(owner=user, job_id="dated")
    path, first = "jobs/dated/events/", datetime.fromtimestamp(1_700_000_000, UTC)
    second = (first + timedelta(milliseconds=1)).isoformat()
    fourth = (first + timedelta(milliseconds=3)).isoformat()
    query = {"until": (first + timedelta(seconds=1)).isoformat()}
    assert found(api, path, **query) == ["0", "1", "2", "3", "4"]
    assert found(api, path, since=second, **query) == ["1", "2", "3", "4"]
    assert found(api, path, since=second, until=fourth) == ["1", "2"]
    assert found(api, path, since=second.replace("+", " "), until=fourth) == ["1", "2"]
    assert found(api, path, since=second, until=fourth, after="1700000000001-0") == ["2"]
    assert found(api, path, until="1960-01-01") == []
    early = (first + timedelta(microseconds=500)).isoformat()
    assert found(api, path, since=early, until=fourth) == ["1", "2"]


# All jobs


def test_search_covers_visible_jobs(api, other_api, staff_api, jobs, query_plan):
    assert found(api, search="tea") == ["tea for two", "tea for one"]
    assert found(api, search="tea", order="asc") == ["tea for one", "tea for two"]
    assert found(other_api, search="tea") == ["tea for theirs"]
    assert len(found(staff_api, search="tea")) == 3
    assert found(api, search="tea theirs") == []


def test_search_with_conditions_on_jobs(api, staff_api, jobs, query_plan):
    services.job_cancel(job_id="one")
    assert found(api, search="tea", status="cancelled") == ["tea for one"]
    assert found(api, search="tea", status=["cancelled", "pending"], task_type="type_two") == [
        "tea for two"
    ]
    assert found(staff_api, search="tea", owner="bert") == ["tea for theirs"]
    assert found(api, search="tea", owner="bert") == []
    assert found(api, **{"data.n": "1", "event_type": "said"}) == ["milk for two", "milk for one"]
    until = (timezone.now() - timedelta(hours=1)).isoformat()
    assert found(api, search="tea", until=until) == []
    assert len(found(api, search="tea", since=until)) == 2


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_search_pages_are_complete(api, user, make_job, query_plan, order):
    """Events of several jobs may have the same id."""
    for job_id in ("a", "b", "c"):
        make_job(owner=user, job_id=job_id)
        for number in range(1, 8):
            entry = {"data": f'{{"event_type": "x", "text": "tea {number}"}}'}
            get_redis().xadd(f"job_events:copy_{job_id}", entry, id=f"{number}-0")
        make_job(owner=user, job_id=f"copy_{job_id}")
    archived()
    for limit in (1, 2, 5, 100):
        events = pages(api, "events/", search="tea", order=order, limit=limit)
        assert len({(event["id"], event["job_id"]) for event in events}) == len(events) == 21
        times = [int(event["id"].partition("-")[0]) for event in events]
        assert times == sorted(times, reverse=order == "desc")


BAD_SEARCHES = [
    *[{"cursor": cursor} for cursor in ("", "x", "1-0", "1-0@", "1-0@x", "@1", "1-0@1\x00")],
    *[{"limit": limit} for limit in ("0", "1001", "x")],
    {"order": "up"}, {"status": "x"}, {"data.": "x"}, {"since": "x"}, {"job": "a"},
    {"owner": "\x00"}, {"task_type": "x" * 201}, {"after": "1-0"},
]  # fmt: skip


@pytest.mark.parametrize("query", BAD_SEARCHES)
def test_invalid_parameters_of_the_search(api, query):
    response = api.get("events/", query)
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] in query


def test_anonymous_search_is_refused(client):
    assert client.get("/api/events/").status_code in (401, 403)


# The list of jobs


def listed(api, **query):
    response = api.get("jobs/", query)
    assert response.status_code == 200, response.content
    return [job["job_id"] for job in response.json()["results"]]


def test_list_with_conditions(api, staff_api, jobs):
    services.job_cancel(job_id="one")
    assert listed(api) == ["two", "one"]
    assert listed(api, ordering="created_at") == ["one", "two"]
    assert listed(api, status="cancelled") == ["one"]
    assert listed(api, status=["cancelled", "pending"]) == ["two", "one"]
    assert listed(api, task_type=["type_two", "other"]) == ["two"]
    assert listed(api, search="THE TW") == ["two"]
    assert listed(api, search="type_one") == ["one"]
    assert listed(api, search="theirs") == []
    assert listed(staff_api, owner="bert") == ["theirs"]
    created = Job.objects.get(job_id="two").created_at
    assert listed(api, created_after=created.isoformat()) == ["two"]
    assert listed(api, created_before=created.isoformat()) == ["one"]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("tea", ["long", "short"]), ("TEA gro", ["long"]), ("grows tea", ["long"]), ("rows", []),
        ("long", ["long"]), ("writing.te", ["long", "short"]), ("ab-12", ["ab-12c"]),
        ("茶", ["short"]), ("", ["ab-12c", "long", "short"]), ("%", []), ("'; --", []),
        ("tea's", ["short"]), ("x" * 150, []), (" ".join(["tea"] * 50), ["long", "short"]),
    ],
)  # fmt: skip
def test_words_of_jobs(api, user, make_job, query_plan, search, found):
    make_job(owner=user, job_id="short", title="Tea 茶道", task_type="writing.text")
    make_job(owner=user, job_id="long", title="How tea grows", task_type="writing.text")
    Job.objects.bulk_create([Job(owner=user, job_id="ab-12c")])
    assert listed(api, search=search) == found


def test_words_of_a_changed_title(api, user, make_job, query_plan):
    job = make_job(owner=user, job_id="one", title="Tea")
    job.title = "Coffee"
    job.save()
    assert listed(api, search="coffee") == ["one"]
    assert listed(api, search="tea") == []
    job.delete()
    make_job(owner=user, job_id="two", title="Coffee")
    assert listed(api, search="coffee") == ["two"]


@pytest.mark.parametrize("ordering", ["finished_at", "-finished_at"])
def test_list_by_finish_time(api, user, make_job, ordering):
    make_job(owner=user, job_id="running")
    for number in (3, 1, 2):
        make_job("completed", owner=user, job_id=f"job_{number}")
    ended = ["job_3", "job_1", "job_2"]
    jobs = pages(api, "jobs/", ordering=ordering, limit=2)
    expected = ended if ordering == "finished_at" else ended[::-1]
    assert [job["job_id"] for job in jobs] == expected


def test_counts(api, staff_api, jobs):
    services.job_cancel(job_id="one")
    none = dict.fromkeys(("pending", "running", "completed", "failed", "cancelled"), 0)
    assert api.get("job-counts/").json() == {**none, "pending": 1, "cancelled": 1}
    assert staff_api.get("job-counts/").json()["pending"] == 2
    assert api.get("job-counts/", {"task_type": "type_one"}).json() == {**none, "cancelled": 1}
    assert api.get("job-counts/", {"x": "1"}).status_code == 400


def test_counts_stop_at_a_maximum(staff_api, jobs, monkeypatch):
    monkeypatch.setattr(counts, "MAX_COUNT", 1)
    assert staff_api.get("job-counts/").json()["pending"] == 2
    monkeypatch.setattr(counts, "MAX_COUNT", 3)
    assert staff_api.get("job-counts/").json()["pending"] == 3
    monkeypatch.setattr(counts, "MAX_COUNT", 2)
    assert staff_api.get("job-counts/").json()["pending"] == 3


# Caching


@pytest.mark.parametrize(
    "path", ["jobs/", "jobs/one/", "jobs/one/events/", "events/?search=tea", "job-counts/"]
)
def test_etag(api, jobs, path):
    etag = api.get(path)["ETag"]
    again = api.client.get(f"/api/{path}", headers={"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")
    services.job_start(job_id="one")
    publish("one", "more tea")
    archived()
    changed = api.client.get(f"/api/{path}", headers={"if-none-match": etag})
    assert changed.status_code == 200
    assert changed["ETag"] != etag


def test_immutable_pages(api, user, make_job):
    """Only full pages of completed jobs: events may be appended to the last page of any job."""
    make_job("completed", owner=user, job_id="over")
    make_job("failed", owner=user, job_id="tried_again")

    def is_immutable(job_id, **query):
        response = api.get(f"jobs/{job_id}/events/", query)
        assert "Cookie" in response["Vary"]
        assert response["Cache-Control"].startswith("private")
        return "immutable" in response["Cache-Control"]

    assert is_immutable("over", limit=2)
    assert not is_immutable("over")
    assert not is_immutable("over", limit=2, order="desc")
    assert is_immutable("over", limit=1, order="desc", before="99999999999999-0")
    assert not is_immutable("tried_again", limit=1)
