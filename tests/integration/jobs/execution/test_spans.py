"""Spans of tasks, and attempts: each start has one end, whatever happens to the job."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from events.archive.archiver import Archiver
from events.exceptions import JobCancelled
from events.execution.adapter import Failed, QueueAdapter, Retry
from events.execution.run import Question, Reason, current_run
from events.history import read_events
from events.publisher import get_publisher
from events.spans import current_span
from jobs import inputs, services
from jobs.execution.reaper import Reaper
from jobs.models import Job, Task
from tests.integration.jobs.execution.work import TRACKER, claim, message, row
from tests.support.spans import ended_spans

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture(autouse=True)
def job():
    return services.job_create(job_id="abc", task_type="manual")


def spans():
    return ended_spans(event.data for event in read_events("abc"))


def age_heartbeat(seconds=31):
    Task.objects.update(heartbeat_at=timezone.now() - timedelta(seconds=seconds))


def attempts():
    return list(row().attempts.values_list("number", "status", "error", "reason"))


def complete(run):
    TRACKER.complete(run, 1, continues=False)


def fail(run):
    TRACKER.fail(run, ValueError("boom"), None, "")


def time_out(run):
    TRACKER.fail(run, ValueError("boom"), Reason.TIMED_OUT, "It took too long.")


def ask(run):
    TRACKER.request_input(run, [Question("q", "?"), Question("r", "?")], {})


def lose(run):
    age_heartbeat()
    assert Reaper(single_pass=True).step() == 1


def exceed_run_timeout(run):
    Task.objects.update(heartbeat_at=None)
    Job.objects.update(deadline_at=timezone.now(), deadline_status="failed")
    assert Reaper(single_pass=True).step() == 1


ENDS = {
    complete: ("task_completed", "done"),
    fail: ("task_failed", "failed"),
    time_out: ("task_failed", "failed"),
    ask: ("task_suspended", "interrupted"),
    lose: ("task_failed", "failed"),
    exceed_run_timeout: ("task_failed", "failed"),
    lambda run: TRACKER.schedule_retry(run, ValueError("boom"), 3): ("task_retry", "retry"),
    lambda run: TRACKER.schedule_retry(run, None, 0): ("task_retry", "retry"),
    lambda run: TRACKER.mark_lost(run.delivery, Reason.WORKER_LOST, "It died."): (
        "task_failed", "failed",
    ),
    lambda run: TRACKER.revoke(run.delivery, Reason.TERMINATED): ("task_revoked", "cancelled"),
    lambda run: services.job_cancel(job_id="abc"): ("job_cancelled", "cancelled"),
    lambda run: services.job_fail(job_id="abc", error="boom"): ("task_failed", "failed"),
    lambda run: services.job_complete(job_id="abc"): ("task_completed", "done"),
}  # fmt: skip


@pytest.mark.parametrize("number", range(len(ENDS)))
def test_every_end_of_a_task(number):
    end, expected = list(ENDS.items())[number]
    run = claim()
    end(run)
    assert spans() == [(run.span_id, *expected)]
    TRACKER.stop(run)  # the worker returns later
    assert spans() == [(run.span_id, *expected)]


def test_fields_of_start_and_end():
    run = claim()
    complete(run)
    started, completed = (each.data for each in read_events("abc")[1:])
    assert started["data"].pop("queue_seconds") >= 0
    assert started["data"] == {"run_id": "k1.1", "parent_run_id": None}
    assert completed["data"].pop("seconds") >= 0
    assert completed["data"] == {"run_id": "k1.1", "parent_run_id": None, "status": "done"}
    assert (started["status"], completed["status"]) == ("started", "completed")


def test_queue_time():
    Job.objects.update(created_at=timezone.now() - timedelta(seconds=600))
    first = claim()
    second = claim("k2", enqueued_at=datetime.now(UTC) - timedelta(seconds=300), relatives=("k1",))
    third = claim("k3", relatives=("k1",))
    in_future = claim("k4", enqueued_at=datetime.now(UTC) + timedelta(1), relatives=("k1",))
    found = [e.data["data"].get("queue_seconds") for e in read_events("abc")[1:]]
    assert found == [pytest.approx(600, abs=60), pytest.approx(300, abs=60), None, 0]
    assert len({each.span_id for each in (first, second, third, in_future)}) == 4


def test_queue_time_of_a_retried_job():
    Job.objects.update(created_at=timezone.now() - timedelta(seconds=60))
    fail(claim())
    services.job_retry(job_id="abc")
    claim("k2", attempt=2)
    assert read_events("abc")[-1].data["data"]["queue_seconds"] < 30


def test_cancelled_group():
    for key in ("k1", "k2", "k3"):
        claim(key, group="g", relatives=("g",))
    TRACKER.announce(message("k4", group="g"))
    services.job_cancel(job_id="abc")
    assert spans() == [
        ("k3.1", "task_stopped", "cancelled"),
        ("k2.1", "task_stopped", "cancelled"),
        ("k1.1", "job_cancelled", "cancelled"),
    ]
    assert {event.data["job_status"] for event in read_events("abc")[1:-1]} == {"running"}
    assert set(Task.objects.values_list("state", flat=True)) == {"finished"}


def test_task_that_runs_when_a_job_is_retried_that_its_log_has_ended():
    run = claim()
    get_publisher(epoch=1).publish_task_failed("abc", "work", "boom")
    Archiver().step()
    services.job_retry(job_id="abc")
    assert spans() == [("k1.1", "task_stopped", "failed")]
    TRACKER.stop(run)
    claim("k2", attempt=2)
    assert Reaper(single_pass=True).step() == 0
    assert row().status == "running"


def test_stopped_siblings_of_a_failing_task():
    first, second, third = (claim(key, group="g", relatives=("g",)) for key in ("k1", "k2", "k3"))
    complete(first)
    fail(second)
    assert set(spans()) == {
        (first.span_id, "task_completed", "done"),
        (second.span_id, "task_failed", "failed"),
        (third.span_id, "task_stopped", "failed"),
    }
    assert read_events("abc")[-1].event_type == "task_failed"
    TRACKER.stop(third)
    assert len(spans()) == 3


@pytest.mark.parametrize("group", ["", "g"])
def test_redelivery_after_the_death_of_a_worker(group):
    fields = {"group": group, "relatives": ("g",)}
    first = claim(**fields)
    TRACKER.release(first.delivery)
    second = claim(**fields)
    complete(second)
    if group:
        TRACKER.stop(second)
        assert spans() == [("k1.1", "task_retry", "retry"), ("k1.2", "task_completed", "done")]
        assert len(attempts()) == 1
    else:
        assert spans() == [("k1.1", "task_failed", "failed"), ("k1.2", "task_completed", "done")]
        error = "Worker w1 was lost; the queue redelivered the task."
        assert attempts() == [(1, "failed", error, "worker_lost"), (2, "completed", "", "")]


def test_redelivery_after_a_task_whose_successor_was_never_sent():
    first = claim()
    TRACKER.complete(first, 1, continues=True)
    second = claim()
    complete(second)
    assert spans() == [("k1.1", "task_completed", "done"), ("k1.2", "task_completed", "done")]
    assert [(n, status) for n, status, *_ in attempts()] == [(1, "failed"), (2, "completed")]
    assert [task.state for task in Task.objects.order_by("pk")] == ["finished", "finished"]


def test_death_of_a_worker_after_the_log_has_ended_the_job():
    run = claim()
    get_publisher(epoch=1).publish_task_completed("abc", "work", 1)
    Archiver().step()
    TRACKER.mark_lost(run.delivery, Reason.WORKER_LOST, "It died.")
    assert spans() == [("k1.1", "task_stopped", "failed")]
    assert row().status == "completed"


def test_answered_task_has_a_span_for_each_run(monkeypatch):
    monkeypatch.setattr(inputs, "resume_task", lambda *_args: None)
    ask(claim())
    for name in "qr":
        inputs.input_give(job_id="abc", name=name, value=1)
    complete(claim())
    assert spans() == [
        ("k1.1", "task_suspended", "interrupted"),
        ("k1.2", "task_completed", "done"),
    ]


def test_job_that_its_own_event_has_ended():
    """The projection ends the job before the worker reports the outcome."""
    adapter = QueueAdapter()

    def work():
        get_publisher(epoch=1).publish_task_completed("abc", "work", 1)
        Archiver().step()
        assert row().status == "completed"

    adapter.run(message(sends_heartbeats=False), work)
    assert spans() == [("k1.1", "task_stopped", "done")]


def test_job_that_is_cancelled_during_its_task():
    adapter = QueueAdapter()

    def work():
        services.job_cancel(job_id="abc")
        current_run().last_heartbeat = 0.0
        current_run().check_cancelled()

    adapter.run(message(sends_heartbeats=False), work)
    assert spans() == [("k1.1", "job_cancelled", "cancelled")]


def test_nested_task_is_a_child():
    adapter = QueueAdapter()

    def work():
        assert current_span("abc") == "k1.1"
        adapter.run(message("k2", sends_heartbeats=False), lambda: None, continues=True)
        assert current_span("abc") == "k1.1"

    adapter.run(message(sends_heartbeats=False), work)
    assert current_span() is None
    events = [each.data["data"] for each in read_events("abc") if "data" in each.data]
    parents = [(each["run_id"], each["parent_run_id"]) for each in events]
    assert parents == [("k1.1", None), ("k2.1", "k1.1"), ("k2.1", "k1.1"), ("k1.1", None)]
    assert len(spans()) == 2


def test_job_that_is_cancelled_during_a_nested_task():
    adapter = QueueAdapter()

    def work():
        adapter.run(message("k2", sends_heartbeats=False), cancel, continues=True)

    def cancel():
        services.job_cancel(job_id="abc")

    adapter.run(message(sends_heartbeats=False), work)
    assert spans() == [
        ("k2.1", "task_stopped", "cancelled"), ("k1.1", "job_cancelled", "cancelled"),
    ]  # fmt: skip


def test_retries_of_the_queue():
    class Retrying(QueueAdapter):
        def outcome(self, error):
            return Retry(0.0, error) if isinstance(error, OSError) else Failed()

    def work(error):
        raise error

    for error in (OSError("busy"), ValueError("boom")):
        with pytest.raises(type(error)):
            Retrying().run(message(), lambda error=error: work(error))
    assert spans() == [("k1.1", "task_retry", "retry"), ("k1.2", "task_failed", "failed")]
    assert attempts() == [(1, "failed", "boom", "")]


LARGE = {"text": "x" * 3_000_000, "rows": list(range(200_000)), "odd": object()}


@pytest.mark.parametrize(
    "end",
    [
        lambda run: TRACKER.complete(run, LARGE, continues=False),
        lambda run: TRACKER.complete(run, LARGE, continues=True),
        lambda run: TRACKER.fail(run, ValueError("x" * 3_000_000), None, ""),
        lambda run: TRACKER.request_input(run, [Question("q", LARGE)], {}),
        lambda run: TRACKER.schedule_retry(run, ValueError("x" * 3_000_000), 0),
        lambda run: services.job_fail(job_id="abc", error="boom", **LARGE),
        lambda run: services.job_cancel(job_id="abc", **LARGE),
    ],
)
def test_span_of_a_large_event(end):
    run = claim()
    end(run)
    assert [span[0] for span in spans()] == [run.span_id]


def test_attempts_and_their_tasks():
    fail(claim(worker="w1"))
    services.job_retry(job_id="abc")
    time_out(claim("k2", worker="w2", attempt=2))
    services.job_retry(job_id="abc")
    services.job_cancel(job_id="abc", reason="unwatched")
    assert attempts() == [
        (1, "failed", "boom", ""),
        (2, "failed", "It took too long.", "timed_out"),
        (3, "cancelled", "", "unwatched"),
    ]
    first, second, third = row().attempts.all()
    assert [task.worker for task in first.tasks.all()] == ["w1"]
    assert [task.worker for task in second.tasks.all()] == ["w2"]
    assert not third.tasks.exists()
    for attempt in (first, second):
        assert attempt.created_at <= attempt.started_at <= attempt.finished_at
    assert first.finished_at <= second.created_at
    assert (third.started_at, third.finished_at) == (None, row().finished_at)


def test_attempt_follows_its_job():
    assert attempts() == [(1, "pending", "", "")]
    run = claim()
    attempt = row().attempts.get()
    assert (attempt.status, attempt.started_at) == ("running", row().started_at)
    complete(run)
    attempt.refresh_from_db()
    assert (attempt.status, attempt.finished_at) == ("completed", row().finished_at)


def test_message_of_an_earlier_attempt_with_the_same_id():
    fail(claim())
    services.job_retry(job_id="abc")
    second = claim()
    assert second.span_id == "k1.2"
    complete(second)
    assert len(spans()) == 2
    assert [task.state for task in Task.objects.order_by("pk")] == ["finished", "finished"]


def test_statements_of_a_start_and_an_end():
    with CaptureQueriesContext(connection) as start:
        run = claim()
    with CaptureQueriesContext(connection) as end:
        complete(run)
    outside = ("BEGIN", "COMMIT")
    for captured in (start, end):
        sql = [each["sql"] for each in captured if not each["sql"].startswith(outside)]
        assert len(sql) <= 9, sql


def test_job_that_was_inserted_without_its_attempt():
    Job.objects.bulk_create([Job(job_id="other")])
    services.job_start(job_id="other")
    assert Job.objects.get(job_id="other").attempts.get().status == "running"


def test_job_cancelled_is_raised_by_progress_of_a_stopped_run():
    run = claim()
    services.job_cancel(job_id="abc")
    services.job_retry(job_id="abc")
    with pytest.raises(JobCancelled):
        run.progress(1)
