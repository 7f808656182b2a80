"""The read-only admin of the log: status, processors and logs."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import timezone

from events.erasure import delete_log
from events.models import ArchiveCheckpoint, ArchivedEvent, EventLog, LogGap, Processor
from events.types import START, Cursor
from tests.support.database import ERRORS, failing_database

pytestmark = [pytest.mark.django_db, pytest.mark.database]

PROCESSORS = reverse("admin:job_events_processor_changelist")
LOGS = reverse("admin:job_events_eventlog_changelist")
SCRIPT = "<script>alert(1)</script>"
NUMBERS = {"rounds": 7, "events": 3, "failures": 0, "failing": False, "error": ""}


@pytest.fixture(autouse=True)
def _fast_passwords(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


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


def figures(response):
    return {each.label: (each.value, each.state) for each in response.context["figures"]}


def found(client, query):
    return sorted(log.job_id for log in client.get(LOGS, query).context["cl"].result_list)


# The status


def test_healthy_status(admin, redis_client):
    make_processor()
    make_log(position=Cursor.parse(redis_client.xadd("job_events:abc", {"data": "{}"}).decode()))
    response = admin.get(PROCESSORS)
    page = text(response)
    assert "process_events is running." in page
    assert "7 rounds, 3 events" in page
    assert figures(response) == {
        "Redis memory": ("-", "good"),
        "Outbox": ("0", "good"),
        "Streams behind": ("0", "good"),
        "Stalled logs": ("0", "good"),
        "Lost events": ("0", "good"),
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
        "NotAStream: a list is stored there",
        "the oldest for 5 min",
        "the oldest for 10 min",
        "2 failures, the last: RedisUnavailable: gone",
        "50 min ago",
    ):
        assert part in page, part
    assert figures(response) == {
        "Redis memory": ("-", "good"),
        "Outbox": ("2", "bad"),
        "Streams behind": ("1", "bad"),
        "Stalled logs": ("1", "bad"),
        "Lost events": ("0", "good"),
    }


def test_no_processor_was_ever_started(admin):
    page = text(admin.get(PROCESSORS))
    assert "process_events is not running." in page
    assert "0 processors" in page


def test_without_redis_the_other_figures_are_shown(admin, redis_down):
    make_processor()
    make_log(outbox=1)
    response = admin.get(PROCESSORS)
    assert "Redis did not answer." in text(response)
    assert figures(response)["Streams behind"] == ("?", "unknown")
    assert figures(response)["Outbox"] == ("1", "good")


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
    assert figures(response)["Redis memory"][1] == "bad"


def test_lost_events(admin):
    make_processor()
    log = make_log("<b>", position="5-0")
    LogGap.objects.create(log=log, after="5-0", ids=["6-0"], detected_at=timezone.now())
    response = admin.get(PROCESSORS)
    page = text(response)
    assert "&lt;b&gt;" in page
    assert "between 5-0 and the next event, 1 or more, up to 6-0" in page
    assert figures(response)["Lost events"] == ("1", "bad")


def test_processor_without_loop_stats(admin):
    Processor.objects.create(
        name="x", started_at=timezone.now(), heartbeat_at=timezone.now(), loops={}
    )
    assert "process_events is running." in text(admin.get(PROCESSORS))


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
        with django_assert_max_num_queries(14):
            text(admin.get(url))


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
