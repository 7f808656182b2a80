"""Claims, heartbeats and outcomes of tasks, and the reaper; on both databases."""

from datetime import timedelta
from unittest.mock import patch

import pytest
from django.db import InternalError, OperationalError, connection
from django.db.models import F
from django.db.models.signals import pre_save
from django.utils import timezone

from events.exceptions import DeliveryRejected, InputPending
from events.execution.run import Question, Reason
from events.history import read_events
from events.publisher import get_publisher
from jobs import inputs, services
from jobs.exceptions import JobNotFound, StaleAttempt
from jobs.execution.reaper import Reaper
from jobs.execution.tracker import MAX_DELIVERIES
from jobs.models import Job, Task
from tests.integration.jobs.conftest import archived, locked_elsewhere
from tests.integration.jobs.execution.work import TRACKER, claim, message, row
from tests.support.database import read_only_database

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture(autouse=True)
def job():
    return services.job_create(job_id="abc", task_type="manual")


def ends():
    """Return the terminal events as (attempt, type, status of the job)."""
    events = [event.data for event in read_events("abc")]
    kinds = ("task_completed", "task_failed", "job_cancelled", "task_revoked")
    return [
        (event["attempt"], event["event_type"], event["job_status"])
        for event in events
        if event["event_type"] in kinds
    ]


def age_heartbeat(seconds, key="k1"):
    """Move the heartbeat of a task into the past."""
    Task.objects.filter(external_id=key).update(
        heartbeat_at=F("heartbeat_at") - timedelta(seconds=seconds)
    )


def test_complete_task():
    run = claim()
    assert (run.attempt, run.delivery_count, row().status) == (1, 1, "running")
    assert list(TRACKER.send_heartbeats([run])) == []
    TRACKER.complete(run, {"a": 1}, continues=False)
    assert (row().status, row().result) == ("completed", {"a": 1})
    assert ends() == [(1, "task_completed", "completed")]
    assert TRACKER.send_heartbeats([run]) == [run]


def test_unknown_job():
    with pytest.raises(JobNotFound):
        claim(job_id="nothing")


@pytest.mark.parametrize("continues", [True, False])
def test_last_step_completes_job(continues):
    first = claim("k1")
    TRACKER.complete(first, 1, continues=continues)
    assert row().status == ("running" if continues else "completed")
    if continues:
        last = claim("k2", relatives=("k1",))
        TRACKER.complete(last, 2, continues=False)
        assert (row().status, row().result) == ("completed", 2)


def test_announced_task_keeps_job_running():
    first = claim("k1")
    TRACKER.announce(message("k2", task_type="other"))
    TRACKER.complete(first, 1, continues=False)
    assert row().status == "running"
    TRACKER.complete(claim("k2", task_type="other"), 2, continues=False)
    assert (row().status, row().result) == ("completed", 2)


def test_group_completes_after_a_pause():
    runs = [claim(key, group="g", relatives=("g",)) for key in ("k1", "k2")]
    for run in runs:
        TRACKER.complete(run, 1, continues=False)
    assert row().status == "running"
    late = claim("k3", group="g", relatives=("g",))
    assert Reaper(single_pass=True).step() == 0
    TRACKER.complete(late, 1, continues=False)
    Job.objects.update(deadline_at=timezone.now())
    assert Reaper(single_pass=True).step() == 1
    assert ends()[-1] == (1, "task_completed", "completed")


@pytest.mark.parametrize("timeout", [60, None])
def test_slowly_sent_group_does_not_complete_early(settings, timeout):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "QUEUE_TIMEOUT": timeout}
    group = {"group": "g", "relatives": ("g",)}
    TRACKER.complete(claim("k1", **group), 1, continues=False)
    TRACKER.announce(message("k2", **group))
    Job.objects.filter(deadline_status="completed").update(deadline_at=timezone.now())
    assert Reaper(single_pass=True).step() == 0
    assert claim("k2", **group).attempt == 1


def test_duplicate_message_is_rejected():
    claim("k1")
    with pytest.raises(DeliveryRejected, match="Another message"):
        claim("k2")
    assert claim("k3", task_type="other").delivery_count == 1


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_terminal_job_rejects_deliveries(status):
    services.job_start(job_id="abc")
    {
        "completed": lambda: services.job_complete(job_id="abc"),
        "failed": lambda: services.job_fail(job_id="abc", error="failed"),
        "cancelled": lambda: services.job_cancel(job_id="abc"),
    }[status]()
    with pytest.raises(DeliveryRejected, match=status) as refusal:
        claim()
    assert refusal.value.retry_in is None


def test_message_of_another_attempt_is_rejected():
    services.job_fail(job_id="abc", error="failed")
    services.job_retry(job_id="abc")
    with pytest.raises(DeliveryRejected, match="attempt 1, not 2"):
        claim(attempt=1)
    assert claim(attempt=2).attempt == 2


def test_redelivery_waits_for_live_worker():
    run = claim()
    with pytest.raises(DeliveryRejected, match="Worker w1 has the task") as refusal:
        claim()
    assert refusal.value.retry_in == 15
    assert list(TRACKER.send_heartbeats([run])) == []


@pytest.mark.parametrize("how", ["silent", "released"])
def test_redelivery_after_worker_death_starts_attempt(how):
    first = claim()
    if how == "silent":
        age_heartbeat(31)
    else:
        TRACKER.release(message())
    second = claim(worker="w2")
    assert (second.attempt, second.delivery_count) == (2, 2)
    assert ends() == [(1, "task_failed", "running")]
    assert TRACKER.send_heartbeats([first, second]) == [first]
    with pytest.raises(StaleAttempt):
        TRACKER.complete(first, "mine", continues=False)
    TRACKER.complete(second, "yours", continues=False)
    assert (row().result, ends()[1:]) == ("yours", [(2, "task_completed", "completed")])


def test_redelivered_group_task_stays_in_attempt():
    others = claim("k1", group="g")
    first = claim("k2", group="g", relatives=("g",))
    TRACKER.release(message("k2"))
    second = claim("k2", group="g", relatives=("g",))
    assert (second.attempt, second.delivery_count) == (1, 2)
    assert TRACKER.send_heartbeats([others, first, second]) == [first]


def test_failed_group_starts_no_attempt():
    """The messages of its other tasks are stale: the attempt would complete without them."""
    group = {"group": "g", "relatives": ("g",), "attempt": 1}
    for key in ("k1", "k2"):
        TRACKER.announce(message(key, **group))
    claim("k1", **group)
    TRACKER.mark_lost(message("k1"), Reason.WORKER_LOST, "It died.")
    for key in ("k2", "k1"):
        with pytest.raises(DeliveryRejected, match="failed"):
            claim(key, **group)
    assert (row().status, row().attempt) == ("failed", 1)


def test_message_after_completion_is_rejected():
    TRACKER.complete(claim(), 1, continues=False)
    with pytest.raises(DeliveryRejected):
        claim()


def test_redelivered_step_is_rejected_while_next_runs():
    TRACKER.complete(claim("k1"), 1, continues=True)
    claim("k2", relatives=("k1",))
    with pytest.raises(DeliveryRejected, match="is finished"):
        claim("k1")


def test_redelivered_step_without_successor_starts_attempt():
    """Its worker died before it sent the next task."""
    TRACKER.complete(claim("k1"), 1, continues=True)
    assert claim("k1").attempt == 2


def test_delivery_limit():
    for number in range(1, MAX_DELIVERIES + 1):
        assert claim().delivery_count == number
        TRACKER.release(message())
    with pytest.raises(DeliveryRejected, match=f"delivered {MAX_DELIVERIES} times"):
        claim()
    assert row().status == "failed"
    assert [attempt for attempt, *_ in ends()] == list(range(1, MAX_DELIVERIES + 1))


def test_retry_stays_in_attempt():
    run = claim()
    TRACKER.schedule_retry(run, ValueError("try again"), 60)
    assert (row().status, Task.objects.get().state) == ("running", "queued")
    again = claim(retries=1)
    assert (again.attempt, again.delivery_count) == (1, 2)
    with pytest.raises(StaleAttempt):
        TRACKER.fail(run, ValueError(), None, "")


def test_result_of_any_type_is_kept():
    TRACKER.complete(claim(), {"rows": 3, "last": object()}, continues=False)
    last = read_events("abc")[-1].data
    assert last["result"] == row().result == {"rows": 3, "last": {"$type": "object"}}


def test_cancelled_job_stops_tasks():
    run = claim()
    services.job_cancel(job_id="abc")
    assert TRACKER.send_heartbeats([run]) == [run]
    with pytest.raises(StaleAttempt):
        TRACKER.complete(run, 1, continues=False)
    assert ends() == [(1, "job_cancelled", "cancelled")]


def test_revocation_cancels_once():
    claim()
    for _ in range(2):
        TRACKER.revoke(message(), Reason.TERMINATED)
    assert ends() == [(1, "task_revoked", "cancelled")]
    TRACKER.revoke(message(job_id="nothing"), Reason.TERMINATED)


def test_revocation_of_another_attempt_is_ignored():
    TRACKER.revoke(message(attempt=7), Reason.REVOKED)
    assert row().status == "pending"


def test_revocation_of_redelivered_task_cancels_current_attempt():
    claim(attempt=1)
    TRACKER.release(message())
    assert claim(attempt=1).attempt == 2
    TRACKER.revoke(message(attempt=1), Reason.TERMINATED)
    assert ends()[-1] == (2, "task_revoked", "cancelled")


@pytest.mark.parametrize("reason", [Reason.WORKER_LOST, Reason.TIMED_OUT])
def test_reported_death_fails_job_once(reason):
    claim()
    for _ in range(2):
        TRACKER.mark_lost(message(), reason, "It died.")
    assert (row().status, row().error) == ("failed", "It died.")
    assert read_events("abc")[-1].data["reason"] == reason
    assert len(ends()) == 1


@pytest.mark.parametrize("method", ["mark_lost", "release"])
def test_report_of_former_worker_is_ignored(method):
    """It sent no heartbeats, and another worker has claimed the task."""
    claim(worker="w1")
    age_heartbeat(31)
    second = claim(worker="w2")
    for worker, state in (
        ("w1", "running"),
        ("w2", "lost" if method == "mark_lost" else "released"),
    ):
        args = (Reason.WORKER_LOST, "It died.") if method == "mark_lost" else ()
        getattr(TRACKER, method)(message(worker=worker), *args)
        assert row().current_tasks.get().state == state
    assert row().attempt == second.attempt


def test_death_before_claim():
    TRACKER.mark_lost(message(attempt=1), Reason.WORKER_LOST, "It died.")
    assert row().status == "failed"


@pytest.mark.parametrize("is_announced", [True, False])
def test_death_before_claim_of_later_step(is_announced):
    first = claim("k1", attempt=1)
    second = message("k2", attempt=1, relatives=("k1",))
    if is_announced:
        TRACKER.announce(second)
    TRACKER.complete(first, 1, continues=True)
    TRACKER.mark_lost(message("k1", attempt=1), Reason.WORKER_LOST, "It died after its end.")
    assert row().status == "running"
    TRACKER.mark_lost(second, Reason.WORKER_LOST, "It died.")
    assert (row().status, row().error) == ("failed", "It died.")


def test_death_after_end_by_projection_starts_no_attempt():
    """The projection has ended the job and leaves its tasks unchanged."""
    claim()
    Job.objects.update(status="cancelled", finished_at=timezone.now(), started_at=None)
    TRACKER.mark_lost(message(), Reason.WORKER_LOST, "It died.")
    with pytest.raises(DeliveryRejected, match="cancelled"):
        claim()
    assert (row().status, row().attempt) == ("cancelled", 1)


def test_death_before_retry():
    TRACKER.schedule_retry(claim(attempt=1), ValueError("try again"), 60)
    TRACKER.mark_lost(message(attempt=1), Reason.WORKER_LOST, "It died after it was sent again.")
    assert row().status == "running"


def test_reaper_waits_for_full_timeout_after_start(settings):
    """Heartbeats older than the reaper do not count."""
    claim()
    age_heartbeat(60)
    reaper = Reaper()
    assert reaper.step() == 0
    reaper._observing_since -= 31
    reaper._ran_at -= 1
    assert reaper.step() == 1
    assert (row().status, Task.objects.get().state) == ("failed", "lost")
    assert "no heartbeat for 30 s" in row().error
    reaper._ran_at -= 1
    assert reaper.step() == 0


def test_reaper_waits_after_its_own_outage():
    claim()
    age_heartbeat(60)
    reaper = Reaper()
    reaper.step()
    reaper._observing_since -= 100
    reaper._ran_at -= 50
    assert reaper.step() == 0
    assert row().status == "running"


def test_reaper_waits_after_database_outage():
    """The monotonic clock stops while the machine sleeps; the database's clock does not."""
    claim()
    reaper = Reaper()
    reaper.step()
    reaper._observing_since -= 100
    reaper._ran_at -= 1
    age_heartbeat(60)
    reaper._database_time -= timedelta(seconds=60)
    assert reaper.step() == 0
    assert row().status == "running"
    reaper._observing_since -= 31
    reaper._ran_at -= 1
    assert reaper.step() == 1


def test_reaper_waits_after_the_clock_was_set_back():
    """Live workers send heartbeats with the new time; that of a dead one stays in the future."""
    claim()
    age_heartbeat(-3600)
    reaper = Reaper()
    reaper.step()
    reaper._observing_since -= 100
    reaper._ran_at -= 1
    reaper._database_time += timedelta(seconds=3600)
    assert reaper.step() == 0
    assert row().status == "running"
    reaper._observing_since -= 31
    reaper._ran_at -= 1
    assert reaper.step() == 1
    assert row().status == "failed"


def test_reaper_ignores_workers_with_heartbeats():
    run = claim()
    age_heartbeat(28)
    run.last_heartbeat -= 10
    assert Reaper(single_pass=True).step() == 0
    age_heartbeat(28)
    TRACKER.send_heartbeats([run])
    assert Reaper(single_pass=True).step() == 0
    assert row().status == "running"


def make_due(cause):
    """Make two jobs due, "abc" first: by missing heartbeats, or by their deadlines."""
    services.job_create(job_id="def", task_type="manual")
    for key, job_id in (("k1", "abc"), ("k2", "def")):
        claim(key, job_id=job_id)
    if cause == "heartbeat":
        age_heartbeat(61)
        age_heartbeat(60, "k2")
    else:
        Task.objects.update(state="finished")
        Job.objects.update(deadline_at=timezone.now(), deadline_status="failed")


@pytest.mark.parametrize("cause", ["heartbeat", "queue"])
def test_reaper_skips_locked_job(cause):
    if connection.vendor == "sqlite":  # it has one lock, for all rows
        return
    make_due(cause)
    with locked_elsewhere():
        assert Reaper(single_pass=True).step() == 1
    assert Job.objects.get(job_id="def").status == "failed"
    assert row().status == "running"


@pytest.mark.parametrize("cause", ["heartbeat", "queue"])
def test_failing_termination_does_not_block_others(cause, caplog):
    make_due(cause)

    def refuse(instance, **_kwargs):
        if instance.job_id == "abc" and instance.is_terminal:
            raise ValueError("rejected by receiver")

    pre_save.connect(refuse, sender=Job)
    reaper = Reaper(single_pass=True)
    try:
        assert reaper.step() == 1
        assert reaper.step() == 0
    finally:
        pre_save.disconnect(refuse, sender=Job)
    assert caplog.messages.count("job_termination_failed") == 1
    assert [row().status, Job.objects.get(job_id="def").status] == ["running", "failed"]
    reaper._retry_at["abc"] -= 60
    assert reaper.step() == 1


def test_read_only_database_delays_no_termination(caplog):
    make_due("heartbeat")
    reaper = Reaper(single_pass=True)
    with read_only_database(), pytest.raises((OperationalError, InternalError)):
        reaper.step()
    assert "job_termination_failed" not in caplog.messages
    assert reaper.step() == 2


def test_failed_heartbeat_is_repeated():
    run = claim()
    run.last_heartbeat -= 10

    def refuse(execute, sql, *args):
        if sql.startswith("UPDATE"):
            raise OperationalError("The database is unavailable.")
        return execute(sql, *args)

    with connection.execute_wrapper(refuse), pytest.raises(OperationalError):
        TRACKER.send_heartbeats([run])
    age_heartbeat(31)
    TRACKER.send_heartbeats([run])
    assert Reaper(single_pass=True).step() == 0


def test_reaper_reports_time_limit():
    claim(time_limit=10)
    age_heartbeat(60)
    Task.objects.update(deadline=timezone.now())
    assert Reaper(single_pass=True).step() == 1
    assert read_events("abc")[-1].data["reason"] == "timed_out"


def start_by_service():
    services.job_start(job_id="abc")


def start_in_process():
    claim(sends_heartbeats=False)


def start_in_the_log():
    """Like a worker that has no database."""
    get_publisher().publish_task_started("abc", "manual")
    archived()


def expire_deadline():
    """Let the time of the deadline pass, if the job has one; return how many jobs end."""
    Job.objects.filter(deadline_at__isnull=False).update(deadline_at=timezone.now())
    return Reaper(single_pass=True).step()


@pytest.mark.parametrize("start", [start_by_service, start_in_process, start_in_the_log])
def test_job_without_heartbeats_fails_after_run_timeout(settings, start):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUN_TIMEOUT": {"manual": 60, "*": 5000}}
    before, timeout = timezone.now(), timedelta(seconds=60)
    start()
    assert before <= row().deadline_at - timeout <= timezone.now()
    assert Reaper(single_pass=True).step() == 0
    assert expire_deadline() == 1
    assert row().status == "failed"
    assert read_events("abc")[-1].data["reason"] == "run_timeout"


@pytest.mark.parametrize("start", [start_by_service, start_in_process, start_in_the_log])
def test_run_timeout_may_be_none(settings, start):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUN_TIMEOUT": {"manual": None, "*": 60}}
    start()
    assert row().deadline_at is None


def test_other_task_types_have_a_day():
    start_by_service()
    assert row().deadline_at > timezone.now() + timedelta(hours=23)


def test_heartbeats_replace_the_run_timeout():
    claim()
    assert row().deadline_at is None
    Job.objects.update(deadline_at=timezone.now(), deadline_status="failed")
    assert expire_deadline() == 0
    assert (row().status, row().deadline_at) == ("running", None)


def test_open_question_extends_the_run_timeout():
    start_by_service()
    inputs.input_request(job_id="abc", name="q", prompt="?")
    assert expire_deadline() == 0
    assert row().deadline_at > timezone.now() + timedelta(hours=23)
    inputs.input_give(job_id="abc", name="q", value=1)
    assert expire_deadline() == 1
    assert row().status == "failed"


def test_queue_timeout(settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": {"lost": print}, "QUEUE_TIMEOUT": 60}
    services.job_create(job_id="def", task_type="lost")
    assert Reaper(single_pass=True).step() == 0
    Job.objects.filter(job_id="def").update(deadline_at=timezone.now())
    assert Reaper(single_pass=True).step() == 1
    lost = Job.objects.get(job_id="def")
    assert (lost.status, lost.error) == ("failed", "No worker claimed the job for 60 s.")
    assert read_events("def")[-1].data["reason"] == "queue_timeout"
    assert row().status == "pending"  # it has no runner


def test_answers_resume_task(monkeypatch):
    run = claim()
    with pytest.raises(InputPending, match="awaits input"):
        run.ask("Sure?")
    TRACKER.request_input(run, [Question("a", "A?"), Question("b", "B?", ("x",))], {"data": 1})
    assert Task.objects.get().state == "awaiting_input"
    with pytest.raises(DeliveryRejected, match="awaits input"):
        claim()
    assert Reaper(single_pass=True).step() == 0
    resumed = []
    monkeypatch.setattr(
        inputs, "resume_task", lambda task, attempt: resumed.append((task.resume, attempt))
    )
    inputs.input_give(job_id="abc", name="a", value=1)
    assert resumed == []
    inputs.input_give(job_id="abc", name="b", value="x")
    assert resumed == [({"data": 1}, 1)]
    again = claim()
    assert again.ask_all([Question("a", "A?"), Question("b", "B?")]) == [1, "x"]


def test_answer_before_suspension_resumes_task(monkeypatch):
    """An earlier run has sent the same question, and the answer arrives during this run."""
    run = claim()
    inputs.input_request(job_id="abc", name="a", prompt="A?")
    inputs.input_give(job_id="abc", name="a", value=1)
    resumed = []
    monkeypatch.setattr(inputs, "resume_task", lambda task, attempt: resumed.append(attempt))
    TRACKER.request_input(run, [Question("a", "A?")], {})
    assert resumed == [1]


def test_failing_resume_fails_job():
    run = claim()
    TRACKER.request_input(run, [Question("a", "A?")], {})
    inputs.input_give(job_id="abc", name="a", value=1)
    assert row().status == "failed"
    assert "Unknown queue adapter 'test'" in row().error


def test_expired_duplicate_of_a_started_task():
    """The broker delivers the message of a long task again, after its `expires`."""
    claim()
    TRACKER.revoke(message(), Reason.EXPIRED)
    assert row().status == "running"
    TRACKER.revoke(message("k2"), Reason.EXPIRED)
    assert row().status == "cancelled"


def test_delayed_retry_of_a_group_keeps_its_deadline():
    """Another task of the group ends long before it is due."""
    group = {"group": "g"}
    first, second = claim("k1", **group), claim("k2", relatives=("g",), **group)
    TRACKER.schedule_retry(first, None, 172800, Reason.REQUEUED)
    TRACKER.complete(second, None, continues=False)
    assert row().deadline_at - timezone.now() > timedelta(days=2.9)
    assert [event.data.get("reason") for event in read_events("abc")][-2] == "requeued"


@pytest.mark.parametrize("timeout", [None, 3600])
def test_postponed_message_without_deadline(settings, timeout):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "QUEUE_TIMEOUT": timeout}
    TRACKER.postpone("abc", 60)
    assert row().deadline_at is None


def test_ignored_task_cancels_its_job():
    run = claim()
    TRACKER.cancel(run, Reason.IGNORED, "done by another worker")
    assert ends() == [(1, "task_revoked", "cancelled")]
    with pytest.raises(StaleAttempt):
        TRACKER.cancel(run, Reason.IGNORED, "")


def test_answer_keeps_the_deadline_of_a_delayed_task():
    """Another task of the job was sent with a delay."""
    TRACKER.announce(message("k2", attempt=1), 172800)
    TRACKER.request_input(claim(), [Question("q", "Sure?")], {})
    inputs.input_request(job_id="abc", name="other", prompt="?")
    with patch.object(inputs, "resume_task"):
        for name in ("q", "other"):
            inputs.input_give(job_id="abc", name=name, value="yes")
    assert row().deadline_at - timezone.now() > timedelta(days=2.9)
