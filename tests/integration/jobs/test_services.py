"""Services: allowed transitions, rows, events, and commit order."""

import math
import uuid
from collections import UserDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from threading import Barrier, Thread

import pytest
from django.db import connections, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy

from events.codec import MAX_EVENT_BYTES
from events.exceptions import InvalidJobId
from events.outbox.relay import Relay
from jobs import services
from jobs.exceptions import InvalidJob, InvalidTransition, JobExists, JobNotFound, StaleAttempt
from jobs.models import Job
from tests.integration.jobs.conftest import archived, relayed

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

ARGUMENTS = {"job_progress": {"progress": 40}, "job_fail": {"error": "boom"}}
ALLOWED = {
    "job_start": {"pending"},
    "job_progress": {"running"},
    "job_complete": {"running"},
    "job_fail": {"pending", "running"},
    "job_cancel": {"pending", "running"},
    "job_retry": {"failed", "cancelled"},
}
NEXT = {
    "job_start": "running",
    "job_progress": "running",
    "job_complete": "completed",
    "job_fail": "failed",
    "job_cancel": "cancelled",
    "job_retry": "pending",
}
PAIRS = [(service, str(status)) for service in ALLOWED for status in Job.Status]


@dataclass
class Page:
    number: object


class Mark(Enum):
    NUL = "a\x00b"


def nested(levels):
    value = []
    for _ in range(levels - 1):
        value = [value]
    return value


# What arguments of a runner cannot be, as it would change.
LOST = [
    "a\x00b",
    "\ud800",
    {"\x00": 1},
    10**5000,
    nested(20_000),
    nested(300),
    object(),
    b"bytes",
    ValueError("a"),
    Page("a\x00b"),
    Page([object()]),
    Mark.NUL,
    [Decimal(1)] * 20_000,
]
CONVERTED = [
    (math.nan, "NaN"),
    (-math.inf, "-Infinity"),
    (2**70, str(2**70)),
    ({2, 1}, [1, 2]),
    (Decimal("1.50"), "1.50"),
    (Page([math.nan]), {"number": ["NaN"]}),
    ({1: gettext_lazy("Add")}, {"1": "Add"}),
]


def call(service, job, **more):
    arguments = {"job_id": job.job_id, **ARGUMENTS.get(service, {}), **more}
    return getattr(services, service)(**arguments)


def state(job):
    return Job.objects.filter(pk=job.pk).values().get()


@pytest.mark.parametrize(
    ("service", "status"), [pair for pair in PAIRS if pair[1] in ALLOWED[pair[0]]]
)
def test_allowed_transitions(make_job, log, service, status):
    job = make_job(status)
    events = len(log(job))
    answer = call(service, job)
    job.refresh_from_db()
    assert answer.status == job.status == NEXT[service]
    assert len(log(job)) == events + 1
    assert log(job)[-1].data["job_status"] == NEXT[service]


@pytest.mark.parametrize(
    ("service", "status"), [pair for pair in PAIRS if pair[1] not in ALLOWED[pair[0]]]
)
def test_refused_transitions(make_job, log, service, status):
    job = make_job(status)
    before, events = state(job), log(job)
    with pytest.raises(InvalidTransition) as caught:
        call(service, job)
    for word in (job.job_id, f" is {status}", *ALLOWED[service]):
        assert word in str(caught.value)
    assert (state(job), log(job)) == (before, events)


@pytest.mark.parametrize("service", ALLOWED)
def test_missing_job_raises_job_not_found(service):
    with pytest.raises(JobNotFound, match="missing is not available"):
        call(service, Job(job_id="missing"))


@pytest.mark.parametrize("service", ALLOWED)
@pytest.mark.parametrize("job_id", ["a b", "", None, 5, "a\x00"])
def test_invalid_job_id(service, job_id):
    with pytest.raises(InvalidJobId):
        call(service, Job(job_id=job_id))


@pytest.mark.parametrize("service", ALLOWED)
def test_older_attempt_raises_stale_attempt(make_job, log, service):
    job = make_job("cancelled")
    services.job_retry(job_id=job.job_id)
    before, events = state(job), log(job)
    with pytest.raises(StaleAttempt, match="attempt 2, not at 1"):
        call(service, job, attempt=1)
    assert (state(job), log(job)) == (before, events)


@pytest.mark.parametrize("service", ["job_start", "job_fail", "job_cancel"])
def test_current_attempt_is_accepted(make_job, service):
    job = make_job("failed")
    services.job_retry(job_id=job.job_id)
    assert call(service, job, attempt=2).attempt == 2


def test_services_are_keyword_only(make_job):
    with pytest.raises(TypeError):
        services.job_start(make_job().job_id)


# Rows and events


def test_row_and_log_of_a_completed_job(make_job, log):
    job = make_job(title="Report", task_type="writing")
    job_id = job.job_id
    started = services.job_start(job_id=job_id, worker="w1")
    assert started.started_at
    services.job_progress(job_id=job_id, progress=12.5, message="reading")
    assert Job.objects.get(job_id=job_id).progress == 12.5
    services.job_complete(job_id=job_id, result={"pages": 3})
    job.refresh_from_db()
    assert (job.progress, job.result, job.error) == (100.0, {"pages": 3}, "")
    assert job.created_at <= job.started_at <= job.finished_at
    assert [without_time(event) for event in log(job)] == [
        {
            "event_type": "job_created",
            "task_type": "writing",
            "job_status": "pending",
            "attempt": 1,
            "title": "Report",
        },
        {
            "event_type": "task_started",
            "task_type": "writing",
            "job_status": "running",
            "attempt": 1,
            "status": "started",
            "worker": "w1",
        },
        {
            "event_type": "task_progress",
            "task_type": "writing",
            "job_status": "running",
            "attempt": 1,
            "status": "running",
            "progress": 12.5,
            "message": "reading",
        },
        {
            "event_type": "task_completed",
            "task_type": "writing",
            "job_status": "completed",
            "attempt": 1,
            "status": "completed",
            "result": {"pages": 3},
        },
    ]


def without_time(event):
    data = dict(event.data)
    assert datetime.fromisoformat(data.pop("timestamp")).utcoffset() == timedelta(0)
    return data


def test_log_of_a_failed_retried_and_cancelled_job(make_job, log, user):
    job = make_job()
    services.job_fail(job_id=job.job_id, error=ValueError("no ink"))
    services.job_retry(job_id=job.job_id, by=user)
    services.job_cancel(job_id=job.job_id, by=user)
    events = [
        (data["event_type"], data["job_status"], data["attempt"], data.get("error", data.get("by")))
        for data in map(without_time, log(job))
    ]
    assert events == [
        ("job_created", "pending", 1, None),
        ("task_failed", "failed", 1, "no ink"),
        ("job_retried", "pending", 2, "anna"),
        ("job_cancelled", "cancelled", 2, "anna"),
    ]


def test_retry_resets_the_row(make_job):
    job = make_job("running")
    services.job_progress(job_id=job.job_id, progress=50)
    services.job_fail(job_id=job.job_id, error="boom")
    job = services.job_retry(job_id=job.job_id)
    for seen in (job, Job.objects.get(pk=job.pk)):
        assert (seen.status, seen.attempt, seen.progress) == ("pending", 2, 0.0)
        assert (seen.result, seen.error) == (None, "")
        assert (seen.started_at, seen.finished_at) == (None, None)


def test_repeated_retries(make_job, log):
    job = make_job("cancelled")
    for _ in range(3):
        services.job_retry(job_id=job.job_id)
        services.job_cancel(job_id=job.job_id)
    assert [event.data["attempt"] for event in log(job)] == [1, 1, 2, 2, 3, 3, 4, 4]


def test_clock_that_went_backwards(make_job):
    job = make_job("running")
    later = timezone.now() + timedelta(hours=1)
    Job.objects.update(started_at=later)
    assert services.job_complete(job_id=job.job_id).finished_at == later


def test_event_may_have_another_task_type_than_the_job(make_job, log):
    job = make_job("running", task_type="whole")
    services.job_progress(job_id=job.job_id, progress=1, task_type="part")
    assert log(job)[-1].data["task_type"] == "part"


# On commit only


def test_rollback_undoes_rows_and_events(make_job, log):
    job = make_job()
    before, events = state(job), log(job)
    with transaction.atomic():
        services.job_create(task_type="manual", job_id="never")
        services.job_start(job_id=job.job_id)
        services.job_complete(job_id=job.job_id)
        transaction.set_rollback(True)
    assert (state(job), log(job)) == (before, events)
    assert log("never") == []
    assert not Job.objects.filter(job_id="never").exists()


def test_events_are_appended_on_commit_in_order(make_job, log_types):
    job = make_job()
    with transaction.atomic():
        services.job_start(job_id=job.job_id)
        services.job_progress(job_id=job.job_id, progress=1)
        services.job_fail(job_id=job.job_id, error="boom")
        assert log_types(job) == ["job_created"]
    assert log_types(job) == ["job_created", "task_started", "task_progress", "task_failed"]


def test_savepoint_rollback_discards_only_its_events(make_job, log_types):
    job = make_job()
    with transaction.atomic():
        services.job_start(job_id=job.job_id)
        with transaction.atomic():
            services.job_complete(job_id=job.job_id)
            transaction.set_rollback(True)
        services.job_cancel(job_id=job.job_id)
    assert log_types(job) == ["job_created", "task_started", "job_cancelled"]
    assert state(job)["status"] == "cancelled"


def test_refused_transition_keeps_the_outer_transaction_usable(make_job, log_types):
    job = make_job()
    with transaction.atomic():
        with pytest.raises(InvalidTransition):
            services.job_complete(job_id=job.job_id)
        with pytest.raises(JobExists):
            services.job_create(task_type="manual", job_id=job.job_id)
        services.job_start(job_id=job.job_id)
    assert log_types(job) == ["job_created", "task_started"]


# Invalid values


@pytest.mark.parametrize("value", LOST, ids=range(len(LOST)))
def test_payload_that_would_change(value, log):
    with pytest.raises(InvalidJob, match=r"payload: has a value at x") as caught:
        services.job_create(task_type="manual", job_id="abc", payload={"x": value, "d": Decimal(1)})
    assert caught.value.field == "payload"
    assert len(str(caught.value)) < 500
    assert not Job.objects.exists()
    assert log("abc") == []


@pytest.mark.parametrize("payload", [[], "text", 5, True, [("a", 1)], {1: 2}, {"a\x00": 1}])
def test_payload_that_is_not_an_object(payload):
    with pytest.raises(InvalidJob) as caught:
        services.job_create(task_type="manual", payload=payload)
    assert caught.value.field == "payload"
    assert not Job.objects.exists()


@pytest.mark.parametrize(("value", "form"), CONVERTED, ids=range(len(CONVERTED)))
def test_payload_of_other_types_is_converted(value, form):
    job = services.job_create(task_type="manual", payload={"x": value})
    assert job.payload == state(job)["payload"] == {"x": form}


@pytest.mark.parametrize("value", [*LOST, *(value for value, _ in CONVERTED)], ids=range(20))
@pytest.mark.parametrize("service", ["job_start", "job_progress", "job_complete", "job_fail"])
def test_event_data_of_any_type(make_job, log, service, value):
    job = make_job("pending" if service == "job_start" else "running")
    call(service, job, more=value)
    assert "more" in log(job)[-1].data
    assert state(job)["status"] != "pending"


# Types that orjson serializes and the json module does not.
RICH = {
    "when": datetime(2026, 1, 2, tzinfo=UTC),
    "id": uuid.UUID(int=5),
    "page": Page(3),
    "status": Job.Status.PENDING,
    "pair": (1, 2),
}
PLAIN = {
    "when": "2026-01-02T00:00:00+00:00",
    "id": "00000000-0000-0000-0000-000000000005",
    "page": {"number": 3},
    "status": "pending",
    "pair": [1, 2],
}


def test_result_is_the_same_in_the_row_and_in_the_log(make_job, log):
    job = make_job("running")
    answer = services.job_complete(job_id=job.job_id, result=RICH)
    assert answer.result == state(job)["result"] == log(job)[-1].data["result"] == PLAIN


def test_runner_receives_the_payload_of_the_row():
    answer = services.job_create(task_type="manual", payload=RICH)
    assert answer.payload == state(answer)["payload"] == PLAIN


def test_payload_is_any_mapping():
    assert services.job_create(task_type="manual", payload=UserDict(a=1)).payload == {"a": 1}


@pytest.mark.parametrize("result", [None, False, 0, "", [], {}, "text", [1, None], {"ü": "€😀"}])
def test_any_json_value_is_a_result(make_job, log, result):
    job = make_job("running")
    services.job_complete(job_id=job.job_id, result=result)
    assert state(job)["result"] == log(job)[-1].data["result"] == result


def test_size_limit_of_a_payload(settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "MAX_PAYLOAD_BYTES": 100}
    room = 100 - len('{"x":""}')
    services.job_create(task_type="manual", payload={"x": "a" * room})
    with pytest.raises(InvalidJob, match="101 bytes of JSON; the limit is 100"):
        services.job_create(task_type="manual", payload={"x": "a" * (room + 1)})
    with pytest.raises(InvalidJob, match="102 bytes"):
        services.job_create(task_type="manual", payload={"x": "ü" * (room // 2 + 1)})
    assert Job.objects.count() == 1


def test_result_above_the_limit_is_shortened(make_job, log):
    job = make_job("running")
    result = {"text": "x" * MAX_EVENT_BYTES, "pages": [{"page": n} for n in range(10)]}
    services.job_complete(job_id=job.job_id, result=result)
    found = state(job)["result"]
    assert found == log(job)[-1].data["result"]
    assert found["pages"] == result["pages"]
    assert found["text"].endswith("more characters]")
    assert len(found["text"]) > MAX_EVENT_BYTES - 5_000


@pytest.mark.parametrize(
    "progress",
    [-0.1, 100.1, math.nan, math.inf, -math.inf, True, False, "50", None, [], 2**70, 10**5000,
     -(10**5000), Decimal("NaN"), nested(20_000)],
    ids=range(15),
)  # fmt: skip
def test_invalid_progress(make_job, log, progress):
    job = make_job("running")
    events = log(job)
    with pytest.raises(InvalidJob, match="0 to 100") as caught:
        services.job_progress(job_id=job.job_id, progress=progress)
    assert caught.value.field == "progress"
    assert len(str(caught.value)) < 200
    assert state(job)["progress"] == 0
    assert log(job) == events


@pytest.mark.parametrize("progress", [0, 0.0, 1, 33.3, 100, 100.0, Decimal("12.5")])
def test_valid_progress(make_job, progress):
    job = make_job("running")
    services.job_progress(job_id=job.job_id, progress=progress)
    assert state(job)["progress"] == progress


@pytest.mark.parametrize("title", ["a\x00b", "\ud800", "x" * 201, None])
def test_invalid_title(title):
    with pytest.raises(InvalidJob) as caught:
        services.job_create(task_type="manual", title=title)
    assert caught.value.field == "title"
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    "task_type", ["", "a b", "a\n", "a\x00", "\ud800", "x" * 101, None, [], {}, nested(300)]
)
def test_invalid_task_type(task_type):
    with pytest.raises(InvalidJob) as caught:
        services.job_create(task_type=task_type)
    assert caught.value.field == "task_type"
    assert not Job.objects.exists()


@pytest.mark.parametrize("job_id", ["", "a b", "x" * 65, "a\n", "\ud800", 5, [], b"a"])
def test_invalid_job_id_of_a_new_job(job_id):
    with pytest.raises(InvalidJobId):
        services.job_create(task_type="manual", job_id=job_id)
    assert not Job.objects.exists()


def test_titles_are_stored_unchanged(make_job):
    title = "<script>alert(1)</script> 'quoted' \"ü€😀\u202e\u2028 %s {0}"
    assert state(make_job(title=title))["title"] == title


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("boom", "boom"),
        (ValueError("no ink"), "no ink"),
        (ValueError(), "ValueError"),
        ("", "str"),
        ("a\x00b", "a\ufffdb"),
        ("half \ud83d", "half \ufffd"),
        ("whole \U0001f600", "whole \U0001f600"),
        ("\ud83d\ude00", "\U0001f600"),
        (KeyError("x"), "'x'"),
        (None, "None"),
    ],
)
def test_error_is_stored_as_clean_text(make_job, log, error, text):
    job = make_job("running")
    services.job_fail(job_id=job.job_id, error=error)
    assert state(job)["error"] == log(job)[-1].data["error"] == text


def test_exception_is_recorded_with_type_and_traceback(make_job, log):
    job = make_job("running")
    try:
        raise FileNotFoundError("no ink")
    except OSError as error:
        services.job_fail(job_id=job.job_id, error=error)
    data = log(job)[-1].data
    assert data["error_type"] == "FileNotFoundError"
    assert "test_exception_is_recorded" in data["traceback"]


def test_long_error_is_cut(make_job, log):
    job = make_job("running")
    services.job_fail(job_id=job.job_id, error="\x01" * 2_000_000)
    error = state(job)["error"]
    assert error.startswith("\x01" * 10_000)
    assert error.endswith("[... 1990000 more characters]")
    assert log(job)[-1].data["error"] == error


class ErrorWithoutText(Exception):
    def __str__(self):
        raise RuntimeError("not even this")


def test_exception_without_text_fails_its_job(make_job):
    job = make_job("running")
    services.job_fail(job_id=job.job_id, error=ErrorWithoutText())
    assert state(job)["error"] == "ErrorWithoutText"


# Redis unavailable


def test_services_work_without_redis(redis_down, caplog, make_job):
    job = make_job("completed")
    assert state(job)["status"] == "completed"
    deferred = [record for record in caplog.records if record.message == "job_event_deferred"]
    assert deferred
    assert {record.job_id for record in deferred} == {job.job_id}


def test_relay_appends_events_after_a_redis_outage(redis_down, make_job, log):
    jobs = [make_job("running") for _ in range(3)]
    for number in range(5):
        for job in jobs:
            services.job_progress(job_id=job.job_id, progress=number)
            with transaction.atomic():
                services.job_progress(job_id=job.job_id, progress=99, message="never")
                transaction.set_rollback(True)
    for job in jobs:
        services.job_complete(job_id=job.job_id, result=job.job_id)
    redis_down()
    assert log(jobs[0]) == []
    relayed(24)
    assert Relay().step() == 0
    for archive in (lambda: None, archived):
        archive()
        for job in jobs:
            events = [(event.event_type, event.data.get("progress")) for event in log(job)]
            assert events == [
                ("job_created", None),
                ("task_started", None),
                *[("task_progress", number) for number in range(5)],
                ("task_completed", None),
            ]
            assert log(job)[-1].data["result"] == job.job_id


def test_next_service_appends_events_after_a_redis_outage(redis_down, make_job, log_types):
    job = make_job("running")
    redis_down()
    services.job_complete(job_id=job.job_id)
    assert log_types(job) == ["job_created", "task_started", "task_completed"]
    assert Relay().step() == 0


def test_services_work_if_the_key_is_not_a_stream(redis_client, caplog, make_job, log_types):
    redis_client.set("job_events:abc", "text")
    assert state(make_job("completed", job_id="abc"))["status"] == "completed"
    assert "job_event_deferred" in caplog.messages
    redis_client.delete("job_events:abc")
    relayed(3)
    assert log_types("abc") == ["job_created", "task_started", "task_completed"]


def test_transaction_over_several_jobs_is_atomic(make_job, log_types):
    first, second = make_job("running"), make_job("running")
    for is_rolled_back in (True, False):
        with transaction.atomic():
            services.job_complete(job_id=first.job_id)
            services.job_fail(job_id=second.job_id, error="boom")
            transaction.set_rollback(is_rolled_back)
    assert log_types(first) == ["job_created", "task_started", "task_completed"]
    assert log_types(second) == ["job_created", "task_started", "task_failed"]


def test_every_event_has_the_attempt(make_job, log):
    job = make_job("cancelled")
    services.job_retry(job_id=job.job_id)
    services.job_start(job_id=job.job_id)
    assert [event.producer for event in log(job)] == [
        "outbox:1:1", "outbox:1:2", "outbox:2:3", "outbox:2:4",
    ]  # fmt: skip


# Concurrency


def run_concurrently(*calls):
    """Run the calls in concurrent threads; return the result or exception of each."""
    barrier = Barrier(len(calls))
    answers = [None] * len(calls)

    def run(index, function):
        barrier.wait()
        try:
            answers[index] = function()
        except Exception as error:  # noqa: BLE001 - returned to the test
            answers[index] = error
        finally:
            connections.close_all()

    threads = [Thread(target=run, args=item) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


@pytest.mark.parametrize("round_", range(5))
def test_concurrent_ends_of_a_job(make_job, log, round_):
    job = make_job("running")
    answers = run_concurrently(
        lambda: services.job_complete(job_id=job.job_id, result=1),
        lambda: services.job_cancel(job_id=job.job_id),
    )
    refused = [answer for answer in answers if isinstance(answer, InvalidTransition)]
    won = [answer for answer in answers if isinstance(answer, Job)]
    assert (len(won), len(refused)) == (1, 1), answers
    assert state(job)["status"] == won[0].status
    assert [event.data["job_status"] for event in log(job)][2:] == [won[0].status]


def test_concurrent_starts_of_a_job(make_job, log_types):
    job = make_job()
    answers = run_concurrently(*[lambda: services.job_start(job_id=job.job_id)] * 6)
    assert sum(isinstance(answer, Job) for answer in answers) == 1
    assert sum(isinstance(answer, InvalidTransition) for answer in answers) == 5
    assert log_types(job) == ["job_created", "task_started"]


def test_concurrent_retries_of_a_job(make_job):
    job = make_job("failed")
    answers = run_concurrently(*[lambda: services.job_retry(job_id=job.job_id)] * 4)
    assert sum(isinstance(answer, Job) for answer in answers) == 1
    assert state(job)["attempt"] == 2


def test_concurrent_creations_of_a_job(log_types):
    create = lambda: services.job_create(task_type="manual", job_id="abc")  # noqa: E731
    answers = run_concurrently(*[create] * 4)
    assert sum(isinstance(answer, Job) for answer in answers) == 1
    refused = [answer for answer in answers if isinstance(answer, JobExists)]
    assert len(refused) == 3, answers
    assert "abc" in str(refused[0])
    assert log_types("abc") == ["job_created"]


def test_concurrent_progress_loses_no_event(make_job, log_types):
    job = make_job("running")
    answers = run_concurrently(
        *[lambda n=n: services.job_progress(job_id=job.job_id, progress=n) for n in range(8)]
    )
    assert all(isinstance(answer, Job) for answer in answers), answers
    assert log_types(job).count("task_progress") == 8
