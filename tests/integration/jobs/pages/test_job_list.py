"""The job list as rendered by the server: facets, filters, orders, and figures over time."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from events import counts
from jobs import inputs
from jobs.models import Job, Task
from jobs.monitoring import statistics
from jobs.monitoring.rows import figures_from_rows, floor_time
from jobs.monitoring.samples import write_samples

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LIST = reverse("job_events:list")


@pytest.fixture
def anna(client: Client, user: Any) -> Client:
    client.force_login(user)
    return client


@pytest.fixture
def boss(staff: Any) -> Client:
    client = Client()
    client.force_login(staff)
    return client


@pytest.fixture
def jobs(make_job: Any, user: Any) -> dict[str, Job]:
    """A job of each facet."""
    long_ago = timezone.now() - timedelta(hours=5)
    names = ("pending", "running", "completed", "failed", "cancelled")
    jobs = {name: make_job(name, owner=user, title=name) for name in names}
    jobs["waiting"] = make_job("running", owner=user, title="waiting")
    inputs.input_request(job_id=jobs["waiting"].job_id, name="ok", prompt="?")
    for name in ("stuck", "quiet"):
        jobs[name] = make_job("running", owner=user, title=name)
        Job.objects.filter(pk=jobs[name].pk).update(started_at=long_ago, last_event_at=long_ago)
    Task.objects.create(
        job=jobs["quiet"], attempt_id=jobs["quiet"].attempt_key, queue="celery", external_id="1",
        task_type="manual", state=Task.State.RUNNING, heartbeat_at=timezone.now(),
    )  # fmt: skip
    return jobs


def titles(client: Client, **query: Any) -> list[str]:
    page = client.get(LIST, query).content.decode()
    return re.findall(r'class="job-link"[^>]*>([^<]*)<', page)


def summary(client: Client, **query: Any) -> Any:
    return client.get(LIST, {"summary": "1", **query}).json()


def test_facets_select_and_count_jobs(anna: Client, jobs: dict[str, Job]) -> None:
    running = {"running", "waiting", "stuck", "quiet"}
    expected = {
        "": set(jobs),
        "running": running,
        **{name: {name} for name in jobs if name not in {"running", "quiet"}},
    }
    for name, found in expected.items():
        assert set(titles(anna, status=name)) == found, name
    assert summary(anna)["counts"] == {name: len(found) for name, found in expected.items()}


def test_waiting_and_stuck_jobs_say_so(anna: Client, jobs: dict[str, Job]) -> None:
    page = anna.get(LIST).content.decode()
    shown = re.findall(
        r'data-job-id="(\w+)".*?data-status="\w+".*?badge" data-status="(\w+)"', page, re.S
    )
    states = dict(shown)
    assert states[jobs["waiting"].job_id] == "waiting"
    assert states[jobs["stuck"].job_id] == "stuck"
    assert states[jobs["quiet"].job_id] == states[jobs["running"].job_id] == "running"


def test_counts_stop_at_the_limit(anna: Client, jobs: dict[str, Job], monkeypatch: Any) -> None:
    monkeypatch.setattr(counts, "MAX_COUNT", 3)
    monkeypatch.setattr("jobs.pages.facets.MAX_COUNT", 3)
    assert summary(anna)["counts"][""] == 4
    assert re.search(r'data-facet="".*?facet-count">3\+<', anna.get(LIST).content.decode(), re.S)


def test_types_are_those_of_the_newest_visible_jobs(
    anna: Client, make_job: Any, user: Any, other_user: Any, monkeypatch: Any
) -> None:
    """Also of jobs without a runner, on other pages and of other statuses."""
    monkeypatch.setattr("jobs.selectors.NEWEST_JOBS", 2)
    make_job("failed", owner=user, task_type="oldest")
    make_job("failed", owner=user, task_type="older")
    make_job("pending", owner=user, task_type="newest")
    make_job("pending", owner=other_user, task_type="of-bert")
    page = anna.get(LIST, {"status": "completed"}).content.decode()
    shown = [name in page for name in ("oldest", "older", "newest", "of-bert")]
    assert shown == [False, True, True, False]


def test_counts_are_those_of_the_other_filters(anna: Client, make_job: Any, user: Any) -> None:
    for task_type in ("one", "one", "two"):
        make_job("failed", owner=user, task_type=task_type, title=f"About {task_type}")
    assert summary(anna, type="one")["counts"]["failed"] == 2
    assert summary(anna, type="one", status="pending")["counts"]["failed"] == 2
    assert summary(anna, q="two")["counts"]["failed"] == 1
    assert titles(anna, type="two") == ["About two"]
    assert summary(anna, q="...")["counts"]["failed"] == 0


def test_only_who_sees_other_jobs_filters_by_owner(
    anna: Client, boss: Client, make_job: Any, user: Any, other_user: Any
) -> None:
    make_job(owner=user, title="Of anna")
    make_job(owner=other_user, title="Of bert")
    assert titles(boss, owner="bert") == ["Of bert"]
    assert titles(boss, owner="missing") == []
    assert titles(anna, owner="bert") == ["Of anna"]
    assert 'name="owner"' in boss.get(LIST).content.decode()
    assert 'name="owner"' not in anna.get(LIST).content.decode()


def test_time_ranges(anna: Client, make_job: Any, user: Any) -> None:
    now = timezone.now()
    for hours in (0.5, 5, 50, 500, 5000):
        job = make_job(owner=user, title=str(hours))
        Job.objects.filter(pk=job.pk).update(created_at=now - timedelta(hours=hours))
    for name, count in {"1h": 1, "24h": 2, "7d": 3, "30d": 4, "": 5, "wrong": 5}.items():
        assert len(titles(anna, range=name)) == count, name
    local = timezone.localtime(now)
    own = {
        "range": "own",
        "since": f"{local - timedelta(hours=60):%Y-%m-%dT%H:%M}",
        "until": f"{local - timedelta(hours=2):%Y-%m-%dT%H:%M}",
    }
    assert titles(anna, **own) == ["5", "50"]
    assert titles(anna, **{**own, "until": "soon"}) == ["0.5", "5", "50"]
    assert titles(anna, **{**own, "range": ""}) == ["0.5", "5", "50", "500", "5000"]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_times_far_from_any_job_are_ignored(
    anna: Client, jobs: dict[str, Job], settings: Any, zone: str
) -> None:
    settings.TIME_ZONE = zone
    for name in ("since", "until"):
        for value in (
            "0001-01-01T00:00",
            "1969-12-31T23:59",
            "2200-01-01T00:00",
            "9999-12-31T23:59",
        ):
            query = {"range": "own", name: value}
            assert set(titles(anna, **query)) == set(jobs), query
            assert summary(anna, **query)["counts"][""] == len(jobs), query
        for value in ("1970-01-01T00:00", "2199-12-31T23:59"):
            assert "created" in summary(anna, range="own", **{name: value}), value


def test_orders(anna: Client, jobs: dict[str, Job]) -> None:
    newest = titles(anna)
    assert titles(anna, sort="created_at") == newest[::-1]
    ended = titles(anna, sort="-finished_at")
    assert set(ended) == {"completed", "failed", "cancelled"}
    assert titles(anna, sort="finished_at") == ended[::-1]


@pytest.mark.parametrize("sort", ["", "created_at", "-finished_at", "finished_at"])
@pytest.mark.parametrize("has_ties", [False, True])
def test_pages_of_every_order(
    anna: Client, make_job: Any, user: Any, monkeypatch: Any, sort: str, has_ties: bool
) -> None:
    monkeypatch.setattr("jobs.pages.pagination.PAGE_ROWS", 2)
    for number in range(7):
        make_job("failed", owner=user, title=f"Job {number}")
    if has_ties:
        now = timezone.now()
        Job.objects.update(created_at=now, started_at=None, finished_at=now)
    pages, links = [], {"next": "?", "prev": ""}
    while links["next"]:
        page = anna.get(f"{LIST}{links['next']}", {} if "sort" in links["next"] else {"sort": sort})
        links = {name: link_of(page, name) for name in links}
        pages.append(re.findall(r'class="job-link"[^>]*>([^<]*)<', page.content.decode()))
    numbers = [int(title[-1]) for titles in pages for title in titles]
    assert numbers == sorted(numbers, reverse=not sort or sort.startswith("-"))
    assert [len(titles) for titles in pages] == [2, 2, 2, 1]
    back = [anna.get(f"{LIST}{links['prev']}").content.decode()]
    assert re.findall(r'class="job-link"[^>]*>([^<]*)<', back[0]) == pages[2]


def link_of(page: Any, rel: str) -> str:
    found = re.search(rf'rel="{rel}" href="([^"]*)"', page.content.decode())
    return found[1].replace("&amp;", "&") if found else ""


def test_activity_of_own_jobs_is_that_of_their_rows(
    anna: Client, make_job: Any, user: Any, other_user: Any, monkeypatch: Any
) -> None:
    make_job("failed", owner=other_user)
    for task_type in ("one", "one", "two"):
        make_job("failed", owner=user, task_type=task_type)
    figures = summary(anna, range="1h")
    assert (sum(figures["created"]), sum(figures["failed"])) == (3, 3)
    assert (len(figures["created"]), figures["step"]) == (60, 60)
    assert sum(summary(anna, range="7d", type="one")["created"]) == 2
    monkeypatch.setattr(statistics, "MAX_ROWS", 2)
    assert summary(anna, range="1h")["created"][0] is None


def test_activity_of_all_jobs_is_that_of_samples(
    boss: Client, make_job: Any, user: Any, django_assert_num_queries: Any
) -> None:
    """As in the statistics; with a search, of rows."""
    job = make_job("failed", owner=user, title="Sampled")
    now = timezone.now()
    start = floor_time(now, 60)
    write_samples(figures_from_rows(start, start + timedelta(minutes=1), 60), now)
    Job.objects.filter(pk=job.pk).update(title="Changed")
    figures = summary(boss, range="1h")
    assert (figures["created"][-1], figures["failed"][-1]) == (1, 1)
    assert figures["created"][0] is None
    assert summary(boss, range="1h", type="missing")["created"][-1] == 0
    assert summary(boss, range="1h", q="missing")["created"][0] == 0


def test_activity_without_complete_samples_is_that_of_rows(
    boss: Client, make_job: Any, user: Any, settings: Any
) -> None:
    """Of a time without samples any more, and of a custom VISIBLE_JOBS."""
    old, new = make_job(owner=user), make_job(owner=user)
    then = timezone.localtime() - timedelta(days=100)
    Job.objects.filter(pk=old.pk).update(created_at=then)
    own = {
        "range": "own",
        "since": f"{then - timedelta(hours=2):%Y-%m-%dT%H:%M}",
        "until": f"{then + timedelta(hours=2):%Y-%m-%dT%H:%M}",
    }
    assert sum(summary(boss, **own)["created"]) == 1
    assert set(summary(boss, range="1h")["created"]) == {None}
    visible = Job.objects.filter(pk=new.pk)
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "VISIBLE_JOBS": lambda _user: visible.all()}
    assert sum(summary(boss, range="1h")["created"]) == 1


def test_summary_is_cached_until_a_figure_changes(anna: Client, make_job: Any, user: Any) -> None:
    first = anna.get(LIST, {"summary": "1", "range": "7d"})
    known = {"if-none-match": first["ETag"]}
    assert anna.get(LIST, {"summary": "1", "range": "7d"}, headers=known).status_code == 304
    make_job(owner=user)
    assert anna.get(LIST, {"summary": "1", "range": "7d"}, headers=known).status_code == 200


def test_rows_of_a_running_job_are_the_same_until_it_changes(
    anna: Client, jobs: dict[str, Job]
) -> None:
    """Clocks are texts of the script."""
    first = anna.get(LIST, {"rows": "1"})
    Job.objects.filter(pk=jobs["running"].pk).update(
        started_at=timezone.now() - timedelta(seconds=90)
    )
    moved = anna.get(LIST, {"rows": "1"}, headers={"if-none-match": first["ETag"]})
    assert moved.status_code == 200
    again = anna.get(LIST, {"rows": "1"}, headers={"if-none-match": moved["ETag"]})
    assert again.status_code == 304
    assert re.search(r"data-clock=\S+></span>", first.content.decode())
    assert re.search(r"data-clock=\S+>1:3\d</span>", anna.get(LIST).content.decode())


def test_row_shows_phase_error_tokens_and_attempt(anna: Client, make_job: Any, user: Any) -> None:
    job = make_job("failed", owner=user, title="Broken")
    Job.objects.filter(pk=job.pk).update(
        phase="charge_cards",
        attempt=3,
        error="OperationalError: no <connection>\nsecond line",
        usage={"m": {"calls": 1, "input_tokens": 12000, "output_tokens": 345}},
    )
    page = anna.get(LIST).content.decode()
    for text in ("charge_cards", "OperationalError: no &lt;connection&gt;<", "12,345", ">3<"):
        assert text in page
    assert "second line" not in page
