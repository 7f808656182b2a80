"""Admin of jobs: lists, job pages, actions, permissions, hostile data."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.urls import reverse
from django.utils import timezone

from events import counts
from events.execution.run import Delivery
from events.execution.tracker import run_tracker
from events.history import read_events
from events.models import EventLog
from events.publisher import get_publisher
from jobs.admin import JobAdmin
from jobs.inputs import input_request
from jobs.models import Job, Task
from jobs.services import job_cancel, job_create, job_retry
from tests.support.database import failing_database

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

LIST = reverse("admin:job_events_jobs_job_changelist")
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def admin(client, staff):
    client.force_login(staff)
    return client


def page_of(job):
    return reverse("admin:job_events_jobs_job_change", args=[job.pk])


def text(response):
    assert response.status_code == 200
    return response.content.decode()


def run_action(client, action, *jobs):
    data = {"action": action, "_selected_action": [job.pk for job in jobs]}
    return client.post(LIST, data, follow=True)


def messages_of(response):
    return [str(message) for message in response.context["messages"]]


# The list


def test_list_shows_all_jobs(admin, make_job, user):
    for status in ("pending", "running", "completed", "failed", "cancelled"):
        make_job(status, owner=user, title=f"Job {status}", job_id=status)
    page = text(admin.get(LIST))
    for status in ("pending", "running", "completed", "failed", "cancelled"):
        assert f"Job {status}" in page
        assert reverse("job_events:detail", kwargs={"job_id": status}) in page
        assert page_of(Job.objects.get(job_id=status)) in page
        assert f'data-state="{status}">{status.title()}' in page
    assert "<h1>Jobs</h1>" in page
    assert "Select job" not in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "Annual"}, ["one"]),
        ({"q": "one"}, ["one"]),
        ({"q": "bert"}, ["two"]),
        ({"q": "writing"}, ["one"]),
        ({"q": "nothing like it"}, []),
        ({"q": "%"}, []),
        ({"q": "'; drop table job_events_jobs_job; --"}, []),
        ({"status__exact": "failed"}, ["two"]),
        ({"task_type": "writing"}, ["one"]),
        ({"created_at__year": str(timezone.now().year)}, ["one", "two"]),
        ({"created_at__year": "1999"}, []),
        ({"o": "-4.1"}, ["one", "two"]),
    ],
)
def test_filters_and_search(admin, make_job, user, other_user, query, found):
    make_job(job_id="one", title="Annual report", task_type="writing", owner=user)
    make_job("failed", job_id="two", title="Other", owner=other_user)
    response = admin.get(LIST, query)
    text(response)
    assert sorted(job.job_id for job in response.context["cl"].result_list) == found


@pytest.mark.parametrize(
    "query",
    [
        {"q": "\x00"},
        {"q": "a" * 5000},
        {"status__exact": "nonsense"},
        {"created_at__gte": "nonsense"},
        {"created_at__year": "nonsense"},
        {"owner__id__exact": "nonsense"},
        {"owner__id__exact": "9" * 30},
        {"owner__password": "x"},
        {"p": "-1"},
        {"o": "99"},
        {"nonsense": "x"},
    ],
)
def test_invalid_queries(admin, make_job, query):
    make_job()
    assert admin.get(LIST, query, follow=True).status_code in (200, 400)


def test_search_with_numbers_as_usernames(admin, make_job, user, monkeypatch):
    monkeypatch.setattr(type(user), "USERNAME_FIELD", "id")
    monkeypatch.setattr(type(user), "__str__", lambda _user: "anna")
    make_job(owner=user, title="Tea")
    for query, is_found in ((str(user.pk), True), ("tea", True), ("coffee", False)):
        response = admin.get(LIST, {"q": query})
        assert response.status_code == 200
        assert ("Tea" in response.text) == is_found


def test_list_of_many_jobs_ends(admin, make_job, user, monkeypatch):
    monkeypatch.setattr(counts, "MAX_COUNT", 3)
    monkeypatch.setattr(JobAdmin, "list_per_page", 2)
    for number in range(4):
        make_job(owner=user, job_id=f"job-{number}")
    page = text(admin.get(LIST, {"p": "2"}))
    assert "The list shows the first 3 rows." in page
    assert [n for n in range(4) if f">job-{n}<" in page] == [1]
    assert "The list shows the first" not in text(admin.get(LIST, {"q": "job-2"}))


def test_number_of_queries_of_the_list_is_constant(
    admin, make_job, user, django_assert_max_num_queries
):
    for _ in range(20):
        make_job(owner=user)
    with django_assert_max_num_queries(20):
        text(admin.get(LIST))


@pytest.mark.parametrize(
    ("time_zone", "shown"),
    [
        ("UTC", "<span>2026-03-01</span> <span>22:30:05 UTC</span>"),
        ("Asia/Tokyo", "<span>2026-03-02</span> <span>07:30:05 JST</span>"),
    ],
)
def test_times_have_seconds_and_zone(admin, make_job, settings, time_zone, shown):
    settings.TIME_ZONE = time_zone
    job = make_job("failed")
    at = datetime(2026, 3, 1, 22, 30, 5, tzinfo=UTC)
    Job.objects.update(created_at=at, started_at=at, finished_at=at + timedelta(seconds=125))
    job.attempts.update(created_at=at, started_at=at, finished_at=at)
    page = text(admin.get(LIST))
    assert shown in page
    assert "2 min 5 s" in page
    assert text(admin.get(page_of(job))).count(shown) == 5


# A job


def test_job_page_shows_the_timeline(admin, make_job, user):
    """The element reads the log through the API; the page has no inline script."""
    job = make_job("running", owner=user, payload={"prompt": "write <b>it</b>"})
    get_publisher().publish_event(job.job_id, {"event_type": "thought", "text": "Hm, let me see"})
    page = text(admin.get(page_of(job)))
    (element,) = re.findall(r"<job-timeline[^>]*>", page)
    assert f'job-id="{job.job_id}"' in element
    (script,) = re.findall(r"<script[^>]*job-elements.js[^>]*>", page)
    assert 'type="module"' in script
    assert "Hm, let me see" not in page
    assert "write <b>it</b>" not in page
    assert "anna" in page
    inline = [each for each in re.findall(r"<script[^>]*>", page) if "src=" not in each]
    assert inline == []


@pytest.mark.urls("tests.integration.jobs.admin_urls")
def test_job_page_of_a_project_without_the_api(admin, make_job):
    page = text(admin.get(page_of(make_job())))
    assert "job-timeline" not in page
    assert "Open live page" not in page


def test_job_page_lists_attempts_and_their_tasks(admin, make_job):
    job = make_job("failed")
    Task.objects.create(
        job=job, attempt_id=job.attempt_key, external_id="k1", task_type="x", worker="w1@host"
    )
    job_retry(job_id=job.job_id)
    job_cancel(job_id=job.job_id, reason="unwatched")
    page = text(admin.get(page_of(job)))
    assert "w1@host" in page
    assert "unwatched" in page
    for number, status in ((1, "failed"), (2, "cancelled")):
        assert job.attempts.get(number=number).status == status


def test_empty_inlines_are_hidden(admin, make_job):
    job = make_job()
    page = text(admin.get(page_of(job)))
    assert "Attempts" in page
    assert "Input requests" not in page
    input_request_of = make_job("running")
    input_request(job_id=input_request_of.job_id, name="sure", prompt="Sure?")
    assert "Input requests" in text(admin.get(page_of(input_request_of)))


def test_payload_and_result_are_indented_json(admin, make_job):
    job = make_job(payload={"a": {"b": ["é", None]}, "long": "x" * 300_000})
    page = text(admin.get(page_of(job)))
    assert "\n  &quot;a&quot;: {\n    &quot;b&quot;: [" in page
    assert "é" in page
    assert "more characters]" in page


def test_hostile_fields_are_escaped(admin, make_job):
    job = make_job("failed", title=SCRIPT, payload={SCRIPT: SCRIPT})
    Job.objects.update(error=SCRIPT, result={SCRIPT: SCRIPT})
    for url in (LIST, page_of(job)):
        page = text(admin.get(url))
        assert SCRIPT not in page
        assert "&lt;script&gt;" in page


def test_job_page_without_redis(admin, redis_down):
    job = Job.objects.create(title="Unavailable")
    page = text(admin.get(page_of(job)))
    assert "Unavailable" in page
    assert "Unavailable" in text(admin.get(LIST))


@pytest.mark.parametrize("query", ["django_session", "job_events_jobs_job"])
def test_database_fails(admin, query):
    job = Job.objects.create(title="A job")
    for page in (LIST, page_of(job)):
        with failing_database(applies=lambda sql: query in sql):
            response = admin.get(page)
        assert response.status_code == 503
        assert "<h1>Temporarily unavailable</h1>" in response.text
        assert "db.internal" not in response.text
        assert "A job" in text(admin.get(page))


def test_action_while_the_database_is_read_only(admin, make_job):
    job = make_job()
    writes = ("INSERT", "UPDATE", "DELETE")
    with failing_database(applies=lambda sql: sql.startswith(writes)):
        assert run_action(admin, "cancel_jobs", job).status_code == 503
    job.refresh_from_db()
    assert job.status == "pending"


def test_jobs_are_read_only(admin, make_job):
    job = make_job()
    assert admin.get(reverse("admin:job_events_jobs_job_add")).status_code == 403
    assert admin.post(reverse("admin:job_events_jobs_job_add"), {"title": "x"}).status_code == 403
    assert "Add job" not in text(admin.get(LIST))
    admin.post(page_of(job), {"title": "x", "status": "completed", "job_id": "x"})
    stored = Job.objects.get(pk=job.pk)
    assert (stored.title, stored.status, stored.job_id) == ("", "pending", job.job_id)


# Actions


def test_jobs_are_cancelled(admin, make_job, log):
    jobs = [make_job(), make_job("running")]
    assert messages_of(run_action(admin, "cancel_jobs", *jobs)) == ["2 jobs changed."]
    for job in jobs:
        job.refresh_from_db()
        assert job.status == "cancelled"
        assert log(job)[-1].data["by"] == "demo"


def test_jobs_are_retried(admin, make_job):
    job = make_job("failed")
    assert messages_of(run_action(admin, "retry_jobs", job)) == ["1 job changed."]
    job.refresh_from_db()
    assert (job.status, job.attempt) == ("pending", 2)


def test_refused_action_is_reported_and_the_others_are_applied(admin, make_job):
    done, pending = make_job("completed"), make_job()
    messages = messages_of(run_action(admin, "cancel_jobs", done, pending))
    assert len(messages) == 2
    assert any(
        f"Job {done.job_id} cannot be cancelled: it is completed" in message for message in messages
    )
    assert "1 job changed." in messages
    done.refresh_from_db()
    assert done.status == "completed"


def test_retry_of_a_running_job_is_refused(admin, make_job):
    job = make_job("running")
    (message,) = messages_of(run_action(admin, "retry_jobs", job))
    assert "cannot be retried" in message


def test_action_on_a_deleted_job(admin, make_job):
    job = make_job()
    Job.objects.all().delete()
    assert run_action(admin, "cancel_jobs", job).status_code == 200


def test_actions_work_without_redis(admin, redis_down):
    job = job_create(task_type="manual")
    assert messages_of(run_action(admin, "cancel_jobs", job)) == ["1 job changed."]


def test_deleting_requires_confirmation(admin, make_job):
    job = make_job()
    assert "Are you sure" in text(run_action(admin, "delete_selected", job))
    assert Job.objects.exists()


def confirm_deletion(client, *jobs):
    data = {"action": "delete_selected", "_selected_action": [job.pk for job in jobs]}
    return client.post(LIST, {**data, "post": "yes"}, follow=True)


@pytest.mark.parametrize("way", ["action", "page"])
def test_deletion_erases_the_log(admin, make_job, way):
    """The history of the admin has the job_id, without the title."""
    job = make_job("running", job_id="abc", title="cinnamon")
    make_job(job_id="other")
    if way == "action":
        assert confirm_deletion(admin, job).status_code == 200
    else:
        url = reverse("admin:job_events_jobs_job_delete", args=[job.pk])
        assert admin.post(url, {"post": "yes"}, follow=True).status_code == 200
    assert Job.objects.get().job_id == "other"
    assert EventLog.objects.get(job_id="abc").erased_at is not None
    entry = LogEntry.objects.get()
    assert (entry.object_repr, entry.user.username, entry.is_deletion()) == ("abc", "demo", True)


def test_deletion_requires_the_permission(client, django_user_model, make_job):
    job = make_job()
    clerk = django_user_model.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.add(*Permission.objects.filter(codename__in=["view_job", "change_job"]))
    client.force_login(clerk)
    confirm_deletion(client, job)
    url = reverse("admin:job_events_jobs_job_delete", args=[job.pk])
    assert client.post(url, {"post": "yes"}).status_code == 403
    assert Job.objects.exists()


def test_deletion_without_redis(admin, redis_down):
    job = job_create(task_type="manual")
    assert confirm_deletion(admin, job).status_code == 200
    assert not Job.objects.exists()


# Object tools


def tool_of(job, name):
    return reverse(f"admin:job_events_jobs_job_{name}", args=[job.pk])


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("pending", ["cancel", "terminate"]),
        ("running", ["cancel", "terminate"]),
        ("completed", []),
        ("failed", ["retry"]),
        ("cancelled", ["retry"]),
    ],
)
def test_tools_of_a_status(admin, make_job, status, shown):
    job = make_job(status)
    page = text(admin.get(page_of(job)))
    tools = [name for name in ("cancel", "terminate", "retry") if tool_of(job, name) in page]
    assert tools == shown
    assert f'href="{job.page_url}">Open live page' in page


@pytest.mark.parametrize(
    ("status", "name", "after"),
    [
        ("running", "cancel", ("cancelled", 1)),
        ("pending", "terminate", ("cancelled", 1)),
        ("failed", "retry", ("pending", 2)),
    ],
)
def test_tool_is_applied_after_its_confirmation(admin, make_job, log, status, name, after):
    job = make_job(status, title=f"A job {SCRIPT}")
    page = text(admin.get(tool_of(job, name)))
    assert "&lt;script&gt;" in page
    assert SCRIPT not in page
    job.refresh_from_db()
    assert job.status == status
    response = admin.post(tool_of(job, name), {"attempt": "1"}, follow=True)
    assert response.redirect_chain == [(page_of(job), 302)]
    assert len(messages_of(response)) == 1
    job.refresh_from_db()
    assert (job.status, job.attempt) == after
    assert log(job)[-1].data.get("terminate", False) == (name == "terminate")


def test_tool_of_an_earlier_attempt_is_refused(admin, make_job):
    job = make_job("failed")
    job_retry(job_id=job.job_id)
    (message,) = messages_of(admin.post(tool_of(job, "cancel"), {"attempt": "1"}, follow=True))
    assert "attempt" in message
    job.refresh_from_db()
    assert job.status == "pending"


def test_refused_tool(admin, make_job):
    job = make_job("completed")
    (message,) = messages_of(admin.post(tool_of(job, "retry"), {"attempt": "x"}, follow=True))
    assert "cannot be retried" in message


@pytest.mark.parametrize("permissions", [[], ["view_job"]])
def test_tools_require_the_permission(client, clerk, make_job, permissions):
    clerk.user_permissions.add(*Permission.objects.filter(codename__in=permissions))
    job = make_job()
    if permissions:
        assert tool_of(job, "cancel") not in text(client.get(page_of(job)))
    for method in (client.get, client.post):
        assert method(tool_of(job, "cancel")).status_code == (403 if permissions else 404)
    job.refresh_from_db()
    assert job.status == "pending"


def test_tools_of_a_hidden_job_and_of_other_users(admin, client, user, make_job, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "VISIBLE_JOBS": visible_to_clerks}
    job = make_job()
    assert admin.post(tool_of(job, "cancel")).status_code == 404
    client.force_login(user)
    assert "/admin/login/" in client.post(tool_of(job, "cancel"))["Location"]
    job.refresh_from_db()
    assert job.status == "pending"


def test_tool_while_the_database_fails(admin, make_job):
    job = make_job()
    with failing_database(applies=lambda sql: "job_events_jobs_job" in sql):
        assert admin.get(tool_of(job, "cancel")).status_code == 503


# Permissions


@pytest.fixture
def clerk(client, django_user_model):
    """A member of the staff without any permission, logged in."""
    clerk = django_user_model.objects.create_user("clerk", password="clerk", is_staff=True)
    client.force_login(clerk)
    return clerk


def test_staff_without_a_permission(client, clerk, make_job):
    job = make_job()
    assert client.get(LIST).status_code == 403
    assert client.get(page_of(job)).status_code == 403
    assert run_action(client, "cancel_jobs", job).status_code == 403
    job.refresh_from_db()
    assert job.status == "pending"


def test_staff_with_the_view_permission(client, clerk, make_job):
    clerk.user_permissions.add(Permission.objects.get(codename="view_job"))
    job = make_job()
    assert "<job-timeline" in text(client.get(page_of(job)))
    assert "cancel_jobs" not in text(client.get(LIST))
    run_action(client, "cancel_jobs", job)
    job.refresh_from_db()
    assert job.status == "pending"


def test_staff_with_the_change_permission(client, clerk, make_job):
    clerk.user_permissions.add(*Permission.objects.filter(codename__in=("view_job", "change_job")))
    job = make_job()
    assert messages_of(run_action(client, "cancel_jobs", job)) == ["1 job changed."]


def visible_to_clerks(user):
    """A rule that hides jobs even from staff; its queryset has duplicates without distinct()."""
    return Job.objects.filter(owner__groups__name="clerks").distinct()


def test_visible_jobs_applies_to_the_admin(admin, make_job, user, other_user, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "VISIBLE_JOBS": visible_to_clerks}
    user.groups.add(Group.objects.create(name="clerks"), Group.objects.create(name="clerks too"))
    shown = make_job(owner=user, title="Shown", job_id="shown")
    hidden = make_job(owner=other_user, title="Hidden", job_id="hidden")
    page = text(admin.get(LIST, {"q": "manual", "o": "6.1"}))
    assert "Shown" in page
    assert "Hidden" not in page
    assert "Hidden" not in text(admin.get(LIST, {"created_at__year": str(timezone.now().year)}))
    assert "<job-timeline" in text(admin.get(page_of(shown)))
    for name in ("change", "history", "delete"):
        url = reverse(f"admin:job_events_jobs_job_{name}", args=[hidden.pk])
        assert admin.get(url).status_code == 302, "to the index, as for a job that does not exist"
    run_action(admin, "cancel_jobs", shown, hidden)
    data = {"action": "delete_selected", "_selected_action": [shown.pk, hidden.pk], "post": "yes"}
    assert [Job.objects.get(pk=job.pk).status for job in (shown, hidden)] == [
        "cancelled",
        "pending",
    ]
    admin.post(LIST, data)
    assert list(Job.objects.values_list("job_id", flat=True)) == ["hidden"]


@pytest.mark.parametrize("account", ["user", None])
def test_other_users_are_redirected_to_the_login(request, client, make_job, account):
    if account:
        client.force_login(request.getfixturevalue(account))
    for url in (LIST, page_of(make_job())):
        response = client.get(url)
        assert response.status_code == 302
        assert "/admin/login/" in response["Location"]


def test_tasks_and_input_requests_of_a_job(admin):
    job = job_create(job_id="abc", task_type="manual")
    run_tracker().claim(Delivery("celery", "key-1", "abc", "convert", worker=f"w1 {SCRIPT}"))
    input_request(job_id="abc", name="sure", prompt={"text": f"Sure? {SCRIPT}"})
    page = text(admin.get(page_of(job)))
    for shown in ("convert", "key-1", "w1 ", "sure", "Sure?"):
        assert shown in page
    assert SCRIPT not in page


def test_jobs_are_terminated(admin, caplog):
    job = job_create(job_id="abc", task_type="manual")
    run_tracker().claim(Delivery("none", "key-1", "abc", "convert"))
    assert messages_of(run_action(admin, "terminate_jobs", job)) == ["1 job changed."]
    assert read_events("abc")[-1].data["terminate"] is True
    # The queue is unavailable; the job is cancelled nevertheless.
    assert "task_stop_failed" in caplog.text
