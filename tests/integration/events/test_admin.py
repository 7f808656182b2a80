"""The read-only admin of the log: status, processors and logs."""

from datetime import timedelta

import pytest
from django.contrib.admin import AdminSite
from django.contrib.auth.models import Permission
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from events.admin import ProcessorAdmin
from events.admin.health import worst_health
from events.erasure import delete_log
from events.models import ArchiveCheckpoint, ArchivedEvent, EventLog, LogGap, Processor
from events.processor.health import CRITICAL, OK, UNKNOWN, HealthItem, status_cache
from events.types import START, Cursor
from tests.support.database import ERRORS, failing_database

pytestmark = [pytest.mark.django_db, pytest.mark.database]

PROCESSORS = reverse("admin:job_events_processor_changelist")
LOGS = reverse("admin:job_events_eventlog_changelist")
SCRIPT = "<script>alert(1)</script>"
NUMBERS = {"rounds": 7, "events": 3, "failures": 0, "failing": False, "error": ""}


@pytest.fixture(autouse=True)
def _fresh_status():
    clear_caches()
    yield
    clear_caches()


def clear_caches():
    status_cache.clear()
    worst_health.clear()


@pytest.fixture
def admin(client, staff):
    client.force_login(staff)
    return client


@pytest.fixture
def redis_down(settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": "unix:///nonexistent/redis.sock"}


def make_log(job_id="abc", *, position=START, error="", outbox=0, seconds_ago=0.0):
    now = timezone.now()
    log = EventLog.objects.create(job_id=job_id, sequence=outbox)
    since = now if error else None
    ArchiveCheckpoint.objects.create(log=log, position=position, error=error, failed_at=since)
    at = now - timedelta(seconds=seconds_ago)
    for number in range(outbox):
        row = {"event_type": "x", "timestamp": "x", "data": "{}", "written_at": at}
        ArchivedEvent.objects.create(log=log, sequence=number + 1, **row)
    return log


def make_processor(name="host:1", seconds_ago=0.0, **numbers):
    at = timezone.now() - timedelta(seconds=seconds_ago)
    loops = {"relay": {**NUMBERS, **numbers}, "archiver": NUMBERS}
    return Processor.objects.create(name=name, started_at=at, heartbeat_at=at, loops=loops)


def text(response):
    assert response.status_code == 200
    return response.content.decode()


def cards(response):
    return {card.label: (card.value, card.state) for card in response.context["cards"]}


def found(client, query):
    return sorted(log.job_id for log in client.get(LOGS, query).context["cl"].result_list)


# The status


def test_healthy_status(admin, redis_client):
    make_processor()
    make_log(position=Cursor.parse(redis_client.xadd("job_events:abc", {"data": "{}"}).decode()))
    response = admin.get(PROCESSORS)
    page = text(response)
    for part in ("Nothing is wrong.", "7 rounds, 3 events", "Monitor: charts", "/jobs/monitor/"):
        assert part in page, part
    shown = cards(response)
    assert {state for _value, state in shown.values()} == {"ok"}
    assert shown.pop("Redis memory")[0].endswith(" MiB")
    assert {label: value for label, (value, _state) in shown.items()} == {
        "Processors": "1 of 1",
        "Outbox": "0",
        "Archive backlog": "0",
        "Redis": "Connected",
        "Streams": "1",
        "Database": "Connected",
        "Stalled logs": "0",
        "Gaps in logs": "0",
        "Alert deliveries": "0",
    }


def test_unhealthy_status(admin, redis_client):
    make_processor(seconds_ago=3000, failures=2, error="RedisUnavailable: gone")
    make_log("stuck", error="NotAStream: a list is stored there", outbox=2, seconds_ago=300)
    old = int((timezone.now() - timedelta(minutes=10)).timestamp() * 1000)
    redis_client.xadd("job_events:behind", {"data": "{}"}, id=f"{old}-0")
    response = admin.get(PROCESSORS)
    page = text(response)
    for part in (
        "process_events is not running.",
        "manage.py process_events",
        "docs/operations.md#processors",
        "NotAStream: a list is stored there",
        "2, oldest 5 min",
        "1, oldest 10 min",
        "threshold 60 s",
        "2 failures, the last: RedisUnavailable: gone",
        "50 min ago",
    ):
        assert part in page, part
    found = {label for label, (_value, state) in cards(response).items() if state == "critical"}
    assert found == {"Processors", "Outbox", "Archive backlog", "Stalled logs"}


def test_warning_without_a_problem(admin):
    make_processor()
    make_processor("host:2", seconds_ago=600)
    page = text(admin.get(PROCESSORS))
    assert "Of 2 processes, 1 send heartbeats." in page
    assert "Nothing is wrong." not in page


def test_no_processor_was_ever_started(admin):
    page = text(admin.get(PROCESSORS))
    assert "process_events is not running." in page
    assert "0 of 1" in page


def test_without_redis_the_other_figures_are_shown(admin, redis_down):
    make_processor()
    make_log(outbox=1)
    response = admin.get(PROCESSORS)
    assert "Redis did not answer." in text(response)
    assert cards(response)["Redis"] == ("Failing", "critical")
    assert cards(response)["Streams"] == ("?", "unknown")
    assert cards(response)["Outbox"] == ("1, oldest 0.0 s", "ok")


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("query", ["django_session", "job_events_", "ORDER BY"])
def test_database_fails(admin, error, query, caplog):
    log, processor = make_log(), make_processor()
    pages = [
        PROCESSORS,
        LOGS,
        reverse("admin:job_events_processor_change", args=[processor.pk]),
        reverse("admin:job_events_eventlog_change", args=[log.pk]),
    ]
    for page in pages[:2] if query == "ORDER BY" else pages:
        with failing_database(error, applies=lambda sql: query in sql):
            response = admin.get(page)
        assert response.status_code == 503
        assert "<h1>Temporarily unavailable</h1>" in response.text
        assert "db.internal" not in response.text
        causes = [each.error for each in caplog.records if each.message == "request_failed"]
        assert "db.internal" in causes[-1]
        assert admin.get(page).status_code == 200


def test_redis_out_of_memory(admin, redis_client):
    make_processor()
    redis_client.config_set("maxmemory", 1)
    try:
        response = admin.get(PROCESSORS)
    finally:
        redis_client.config_set("maxmemory", 0)
    page = text(response)
    assert "Redis is out of memory and refuses new events" in page
    assert "raise maxmemory" in page
    assert cards(response)["Redis memory"][1] == "critical"


def test_lost_events(admin):
    make_processor()
    log = make_log("<b>", position="5-0")
    LogGap.objects.create(log=log, after="5-0", ids=["6-0"], detected_at=timezone.now())
    response = admin.get(PROCESSORS)
    page = text(response)
    assert "&lt;b&gt;" in page
    assert "between 5-0 and the next event, 1 or more, up to 6-0" in page
    assert cards(response)["Gaps in logs"] == ("1", "critical")


def test_processor_without_loop_stats(admin):
    Processor.objects.create(
        name="x", started_at=timezone.now(), heartbeat_at=timezone.now(), loops={}
    )
    assert "Nothing is wrong." in text(admin.get(PROCESSORS))


def test_html_is_escaped(admin):
    make_log("stuck", error=SCRIPT)
    make_processor(SCRIPT, failures=1, error=SCRIPT)
    for url in (PROCESSORS, LOGS):
        page = text(admin.get(url))
        assert SCRIPT not in page
        assert "&lt;script&gt;" in page


def test_long_list_of_stalled_logs_ends_with_a_link(admin):
    for number in range(101):
        make_log(f"job{number}", error="x")
    page = text(admin.get(PROCESSORS))
    assert "All 101" in page
    assert f"{LOGS}?state=stalled" in page


def test_number_of_queries_is_constant(admin, django_assert_max_num_queries):
    for number in range(20):
        make_processor(f"host:{number}")
        make_log(f"job{number}", error="x", outbox=1)
    for url in (PROCESSORS, LOGS):
        with django_assert_max_num_queries(18):  # 3 of them savepoints on PostgreSQL
            text(admin.get(url))


# The entry in the index and in the sidebar


def entries(client, page="admin:index"):
    html = text(client.get(reverse(page)))
    return html.count("Health: \N{LARGE RED CIRCLE} Critical"), html.count(">Health<")


def test_entry_says_when_something_is_wrong(admin):
    assert entries(admin) == (1, 0)
    clear_caches()
    make_processor()
    assert entries(admin) == (0, 1)
    clear_caches()
    make_processor("host:2", seconds_ago=600)
    assert "Health: \N{LARGE ORANGE CIRCLE} Warning" in text(admin.get(reverse("admin:index")))


def test_unknown_item_does_not_mark_the_entry(admin, monkeypatch):
    items = [HealthItem("redis_memory", UNKNOWN, ""), HealthItem("redis", OK, "")]
    monkeypatch.setattr("events.admin.health.health", lambda: items)
    assert entries(admin) == (0, 1)
    clear_caches()
    items.append(HealthItem("redis", CRITICAL, ""))
    assert entries(admin) == (1, 0)


def test_entry_of_another_admin_site(rf, staff):
    request = rf.get("/")
    request.user = staff
    mine = AdminSite(name="mine")
    mine.register(Processor, ProcessorAdmin)
    (app,) = mine.get_app_list(request)
    assert str(app["models"][0]["name"]) == "Health: \N{LARGE RED CIRCLE} Critical"


def test_entry_costs_one_status_in_some_seconds(admin, monkeypatch):
    queried = []
    monkeypatch.setattr("events.admin.health.health", lambda: queried.append(1) or [])
    for _ in range(3):
        text(admin.get(reverse("admin:index")))
        text(admin.get(LOGS))
    assert len(queried) == 1


@pytest.mark.parametrize("table", ["job_events_processor", "job_events_jobs_alertdelivery"])
def test_index_without_a_table(admin, table):
    with failing_database(ERRORS[0], applies=lambda sql: table in sql):
        page = text(admin.get(reverse("admin:index")))
    assert "Health: \N{LARGE RED CIRCLE} Unknown" in page


def test_failed_query_does_not_break_the_transaction(admin, monkeypatch):
    """PostgreSQL refuses all statements after an error, except for those after a savepoint."""

    def fail():
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM a_table_that_does_not_exist")

    monkeypatch.setattr("events.admin.health.health", fail)
    page = text(admin.get(reverse("admin:index")))
    assert "Health: \N{LARGE RED CIRCLE} Unknown" in page
    assert "Recent actions" in page


def test_index_without_redis(admin, redis_down):
    make_processor()
    assert entries(admin) == (1, 0)


def test_entry_is_not_evaluated_without_the_permission(client, django_user_model, monkeypatch):
    monkeypatch.setattr(worst_health, "get", lambda: pytest.fail("queried"))
    clerk = django_user_model.objects.create_user("clerk", password="clerk", is_staff=True)
    client.force_login(clerk)
    text(client.get(reverse("admin:index")))


# The logs


def test_list_of_logs(admin):
    make_log("one", position=Cursor(1795315967958, 3))
    make_log("two", outbox=3, error="It is broken")
    EventLog.objects.create(job_id="new")
    page = text(admin.get(LOGS))
    for part in ("1795315967958-3", "It is broken", "new"):
        assert part in page
    logs = {log.job_id: log.pending for log in admin.get(LOGS).context["cl"].result_list}
    assert logs == {"one": 0, "two": 3, "new": 0}


@pytest.mark.parametrize(
    ("query", "job_ids"),
    [
        ({"q": "on"}, ["one"]),
        ({"q": "one"}, ["one"]),
        ({"q": "ne"}, []),
        ({"q": "%"}, []),
        ({"state": "stalled"}, ["two"]),
        ({"state": "outbox"}, ["three", "two"]),
        ({"state": "deleted"}, ["four"]),
        ({"state": "nonsense"}, ["four", "one", "three", "two"]),
    ],
)
def test_search_and_filter(admin, query, job_ids):
    make_log("one", position=Cursor(5, 0))
    make_log("two", error="It is broken", outbox=1)
    make_log("three", outbox=2)
    delete_log("four")
    assert found(admin, query) == job_ids


@pytest.mark.parametrize(
    "query", [{"q": "\x00"}, {"o": "99"}, {"p": "-1"}, {"fault": "x"}, {"nonsense": "x"}]
)
def test_invalid_query_parameters(admin, query):
    make_log()
    for url in (PROCESSORS, LOGS):
        assert admin.get(url, query, follow=True).status_code in (200, 400)


def test_one_log(admin):
    log = make_log("two", position=Cursor(5, 1), error="long " * 100 + "end", outbox=4)
    page = text(admin.get(reverse("admin:job_events_eventlog_change", args=[log.pk])))
    for part in ("5-1", "end", "two", ">4<"):
        assert part in page
    new = EventLog.objects.create(job_id="new")
    text(admin.get(reverse("admin:job_events_eventlog_change", args=[new.pk])))


def test_one_processor(admin):
    processor = make_processor()
    text(admin.get(reverse("admin:job_events_processor_change", args=[processor.pk])))


# Permissions


def test_nothing_can_be_changed(admin):
    log, processor = make_log(), make_processor()
    for name, row in (("eventlog", log), ("processor", processor)):
        assert admin.get(reverse(f"admin:job_events_{name}_add")).status_code == 403
        url = reverse(f"admin:job_events_{name}_change", args=[row.pk])
        assert admin.post(url, {"job_id": "x", "name": "x"}).status_code == 403
        assert (
            admin.post(reverse(f"admin:job_events_{name}_delete", args=[row.pk])).status_code == 403
        )
    for url, row in ((LOGS, log), (PROCESSORS, processor)):
        admin.post(url, {"action": "delete_selected", "_selected_action": [row.pk]}, follow=True)
    assert EventLog.objects.get().job_id == "abc"
    assert Processor.objects.get().name == "host:1"


def test_staff_needs_the_view_permission(client, django_user_model):
    clerk = django_user_model.objects.create_user("clerk", password="clerk", is_staff=True)
    client.force_login(clerk)
    assert client.get(PROCESSORS).status_code == 403
    clerk.user_permissions.add(Permission.objects.get(codename="view_processor"))
    assert "process_events is not running." in text(client.get(PROCESSORS))
    assert client.get(LOGS).status_code == 403


@pytest.mark.parametrize("who", ["user", None])
def test_other_users_are_redirected_to_the_login(request, client, who):
    if who:
        client.force_login(request.getfixturevalue(who))
    for url in (PROCESSORS, LOGS):
        assert "login" in client.get(url)["Location"]
