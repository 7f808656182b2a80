"""Who may run a task of a job, and what becomes of the job; on both databases."""

from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.db.models import F
from django.db.models.signals import pre_save
from django.utils import timezone

from events.exceptions import DeliveryRejected
from events.execution.run import Delivery, Question, Reason, TaskRun
from events.history import read_events
from jobs import inputs, services
from jobs.exceptions import JobNotFound, StaleAttempt
from jobs.execution.reaper import Reaper
from jobs.execution.tracker import MAX_DELIVERIES, JobRunTracker
from jobs.models import Job, Task
from tests.integration.jobs.conftest import locked_elsewhere

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

RUNS = JobRunTracker()


@pytest.fixture(autouse=True)
def job():
    return services.job_create(job_id="abc", task_type="manual")


def message(key="k1", **more):
    return Delivery(**{
        "queue": "test", "external_id": key, "job_id": "abc", "task_type": "work",
        "worker": "w1", **more,
    })  # fmt: skip


def begin(key="k1", **more):
    delivery = message(key, **more)
    return TaskRun(delivery, *RUNS.claim(delivery), RUNS)


def row():
    return Job.objects.get(job_id="abc")


def ends():
    """The events that end something, as (attempt, type, status of the job)."""
    told = [event.data for event in read_events("abc")]
    kinds = ("task_completed", "task_failed", "job_cancelled", "task_revoked")
    return [
        (event["attempt"], event["event_type"], event["job_status"])
        for event in told
        if event["event_type"] in kinds
    ]


def silent(seconds, key="k1"):
    """Let the database believe that the worker was heard of so long ago."""
    Task.objects.filter(external_id=key).update(
        heartbeat_at=F("heartbeat_at") - timedelta(seconds=seconds)
    )


def test_a_task_from_its_start_to_its_end():
    run = begin()
    assert (run.attempt, run.delivery_count, row().status) == (1, 1, "running")
    assert list(RUNS.send_heartbeats([run])) == []
    RUNS.complete(run, {"a": 1}, continues=False)
    assert (row().status, row().result) == ("completed", {"a": 1})
    assert ends() == [(1, "task_completed", "completed")]
    assert RUNS.send_heartbeats([run]) == [run]


def test_there_is_no_such_job():
    with pytest.raises(JobNotFound):
        begin(job_id="nothing")


@pytest.mark.parametrize("more", [True, False])
def test_a_step_ends_the_job_if_none_follows(more):
    first = begin("k1")
    RUNS.complete(first, 1, continues=more)
    assert row().status == ("running" if more else "completed")
    if more:
        last = begin("k2", relatives=("k1",))
        RUNS.complete(last, 2, continues=False)
        assert (row().status, row().result) == ("completed", 2)


def test_a_task_that_is_told_of_is_waited_for():
    first = begin("k1")
    RUNS.announce(message("k2", task_type="other"))
    RUNS.complete(first, 1, continues=False)
    assert row().status == "running"
    RUNS.complete(begin("k2", task_type="other"), 2, continues=False)
    assert (row().status, row().result) == ("completed", 2)


def test_a_group_is_over_when_nobody_has_come_for_a_moment():
    runs = [begin(key, group="g", relatives=("g",)) for key in ("k1", "k2")]
    for run in runs:
        RUNS.complete(run, 1, continues=False)
    assert row().status == "running"
    late = begin("k3", group="g", relatives=("g",))
    assert Reaper(single_pass=True).step() == 0
    RUNS.complete(late, 1, continues=False)
    Job.objects.update(deadline_at=timezone.now())
    assert Reaper(single_pass=True).step() == 1
    assert ends()[-1] == (1, "task_completed", "completed")


@pytest.mark.parametrize("timeout", [60, None])
def test_a_group_that_is_sent_slowly_is_not_over_before_its_last_task_is_begun(settings, timeout):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "QUEUE_TIMEOUT": timeout}
    group = {"group": "g", "relatives": ("g",)}
    RUNS.complete(begin("k1", **group), 1, continues=False)
    RUNS.announce(message("k2", **group))
    Job.objects.filter(deadline_status="completed").update(deadline_at=timezone.now())
    assert Reaper(single_pass=True).step() == 0
    assert begin("k2", **group).attempt == 1


def test_the_same_task_sent_twice_is_begun_once():
    begin("k1")
    with pytest.raises(DeliveryRejected, match="Another message"):
        begin("k2")
    assert begin("k3", task_type="other").delivery_count == 1


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_job_that_is_over_is_not_begun(status):
    services.job_start(job_id="abc")
    {
        "completed": lambda: services.job_complete(job_id="abc"),
        "failed": lambda: services.job_fail(job_id="abc", error="oh"),
        "cancelled": lambda: services.job_cancel(job_id="abc"),
    }[status]()
    with pytest.raises(DeliveryRejected, match=status) as refusal:
        begin()
    assert refusal.value.retry_in is None


def test_a_message_of_another_attempt_is_not_begun():
    services.job_fail(job_id="abc", error="oh")
    services.job_retry(job_id="abc")
    with pytest.raises(DeliveryRejected, match="attempt 1, not 2"):
        begin(attempt=1)
    assert begin(attempt=2).attempt == 2


def test_a_message_that_comes_again_waits_for_its_worker():
    run = begin()
    with pytest.raises(DeliveryRejected, match="Worker w1 has the task") as refusal:
        begin()
    assert refusal.value.retry_in == 15
    assert list(RUNS.send_heartbeats([run])) == []


@pytest.mark.parametrize("how", ["silent", "released"])
def test_a_message_that_comes_again_is_a_new_attempt_if_its_worker_is_dead(how):
    first = begin()
    if how == "silent":
        silent(31)
    else:
        RUNS.release(message())
    second = begin(worker="w2")
    assert (second.attempt, second.delivery_count) == (2, 2)
    assert ends() == [(1, "task_failed", "running")]
    assert RUNS.send_heartbeats([first, second]) == [first]
    with pytest.raises(StaleAttempt):
        RUNS.complete(first, "mine", continues=False)
    RUNS.complete(second, "yours", continues=False)
    assert (row().result, ends()[1:]) == ("yours", [(2, "task_completed", "completed")])


def test_a_task_of_a_group_comes_again_in_the_same_attempt():
    others = begin("k1", group="g")
    first = begin("k2", group="g", relatives=("g",))
    RUNS.release(message("k2"))
    second = begin("k2", group="g", relatives=("g",))
    assert (second.attempt, second.delivery_count) == (1, 2)
    assert RUNS.send_heartbeats([others, first, second]) == [first]


def test_a_task_of_a_group_that_failed_of_it_does_not_begin_an_attempt_alone():
    """The messages of the others are refused by then: it would be completed without them."""
    group = {"group": "g", "relatives": ("g",), "attempt": 1}
    for key in ("k1", "k2"):
        RUNS.announce(message(key, **group))
    begin("k1", **group)
    RUNS.mark_lost(message("k1"), Reason.WORKER_LOST, "It died.")
    for key in ("k2", "k1"):
        with pytest.raises(DeliveryRejected, match="failed"):
            begin(key, **group)
    assert (row().status, row().attempt) == ("failed", 1)


def test_a_message_that_comes_after_the_end_is_not_begun():
    RUNS.complete(begin(), 1, continues=False)
    with pytest.raises(DeliveryRejected):
        begin()


def test_a_step_that_comes_again_when_the_next_runs_is_not_begun():
    RUNS.complete(begin("k1"), 1, continues=True)
    begin("k2", relatives=("k1",))
    with pytest.raises(DeliveryRejected, match="is finished"):
        begin("k1")


def test_a_step_that_comes_again_when_nothing_followed_is_a_new_attempt():
    """Its worker died before it had sent the next."""
    RUNS.complete(begin("k1"), 1, continues=True)
    assert begin("k1").attempt == 2


def test_a_task_of_which_each_worker_dies():
    for number in range(1, MAX_DELIVERIES + 1):
        assert begin().delivery_count == number
        RUNS.release(message())
    with pytest.raises(DeliveryRejected, match=f"delivered {MAX_DELIVERIES} times"):
        begin()
    assert row().status == "failed"
    assert [attempt for attempt, *_ in ends()] == list(range(1, MAX_DELIVERIES + 1))


def test_a_task_that_is_put_back_goes_on_in_its_attempt():
    run = begin()
    RUNS.schedule_retry(run, ValueError("not yet"), 60)
    assert (row().status, Task.objects.get().state) == ("running", "queued")
    again = begin(retries=1)
    assert (again.attempt, again.delivery_count) == (1, 2)
    with pytest.raises(StaleAttempt):
        RUNS.fail(run, ValueError(), None, "")


def test_a_result_that_cannot_be_kept_fails_nobody():
    RUNS.complete(begin(), object(), continues=False)
    last = read_events("abc")[-1].data
    assert (last["result"], row().result) == (None, None)
    assert "object" in last["result_omitted"]


def test_a_cancelled_job_stops_its_tasks():
    run = begin()
    services.job_cancel(job_id="abc")
    assert RUNS.send_heartbeats([run]) == [run]
    with pytest.raises(StaleAttempt):
        RUNS.complete(run, 1, continues=False)
    assert ends() == [(1, "job_cancelled", "cancelled")]


def test_what_celery_revokes_is_cancelled_once():
    begin()
    for _ in range(2):
        RUNS.revoke(message(), Reason.TERMINATED)
    assert ends() == [(1, "task_revoked", "cancelled")]
    RUNS.revoke(message(job_id="nothing"), Reason.TERMINATED)


def test_a_revocation_of_another_attempt_is_none():
    RUNS.revoke(message(attempt=7), Reason.REVOKED)
    assert row().status == "pending"


def test_a_revocation_of_what_came_again_is_one_of_the_attempt_that_it_began():
    begin(attempt=1)
    RUNS.release(message())
    assert begin(attempt=1).attempt == 2
    RUNS.revoke(message(attempt=1), Reason.TERMINATED)
    assert ends()[-1] == (2, "task_revoked", "cancelled")


@pytest.mark.parametrize("reason", [Reason.WORKER_LOST, Reason.TIMED_OUT])
def test_a_death_that_is_told_is_believed_once(reason):
    begin()
    for _ in range(2):
        RUNS.mark_lost(message(), reason, "It died.")
    assert (row().status, row().error) == ("failed", "It died.")
    assert read_events("abc")[-1].data["reason"] == reason
    assert len(ends()) == 1


@pytest.mark.parametrize("tell", ["mark_lost", "release"])
def test_a_death_is_that_of_the_worker_that_tells_of_it(tell):
    """It had been silent, and another worker has the task by now."""
    begin(worker="w1")
    silent(31)
    second = begin(worker="w2")
    for worker, state in (("w1", "running"), ("w2", "lost" if tell == "mark_lost" else "released")):
        more = (Reason.WORKER_LOST, "It died.") if tell == "mark_lost" else ()
        getattr(RUNS, tell)(message(worker=worker), *more)
        assert Task.objects.get().state == state
    assert row().attempt == second.attempt


def test_a_death_before_the_beginning():
    RUNS.mark_lost(message(attempt=1), Reason.WORKER_LOST, "It died.")
    assert row().status == "failed"


@pytest.mark.parametrize("is_announced", [True, False])
def test_a_death_before_the_beginning_of_a_later_step(is_announced):
    first = begin("k1", attempt=1)
    second = message("k2", attempt=1, relatives=("k1",))
    if is_announced:
        RUNS.announce(second)
    RUNS.complete(first, 1, continues=True)
    RUNS.mark_lost(message("k1", attempt=1), Reason.WORKER_LOST, "It died after its end.")
    assert row().status == "running"
    RUNS.mark_lost(second, Reason.WORKER_LOST, "It died.")
    assert (row().status, row().error) == ("failed", "It died.")


def test_a_death_after_the_log_ended_the_job_begins_no_attempt():
    """The row follows what a worker without a database says; its tasks are not told."""
    begin()
    Job.objects.update(status="cancelled", finished_at=timezone.now(), started_at=None)
    RUNS.mark_lost(message(), Reason.WORKER_LOST, "It died.")
    with pytest.raises(DeliveryRejected, match="cancelled"):
        begin()
    assert (row().status, row().attempt) == ("cancelled", 1)


def test_a_death_while_the_task_waits_for_its_next_try():
    RUNS.schedule_retry(begin(attempt=1), ValueError("not yet"), 60)
    RUNS.mark_lost(message(attempt=1), Reason.WORKER_LOST, "It died after it was sent again.")
    assert row().status == "running"


def test_the_reaper_believes_its_own_ears_only(settings):
    """It lets everybody have the whole time once it has begun to listen."""
    begin()
    silent(60)
    reaper = Reaper()
    assert reaper.step() == 0
    reaper._observing_since -= 31
    reaper._ran_at -= 1
    assert reaper.step() == 1
    assert (row().status, Task.objects.get().state) == ("failed", "lost")
    assert "no heartbeat for 30 s" in row().error
    reaper._ran_at -= 1
    assert reaper.step() == 0


def test_the_reaper_begins_anew_after_it_was_away():
    begin()
    silent(60)
    reaper = Reaper()
    reaper.step()
    reaper._observing_since -= 100
    reaper._ran_at -= 50
    assert reaper.step() == 0
    assert row().status == "running"


def test_the_reaper_begins_anew_after_the_database_was_away_while_it_asked():
    """Or the machine slept: its own clock stood still then."""
    begin()
    reaper = Reaper()
    reaper.step()
    reaper._observing_since -= 100
    reaper._ran_at -= 1
    silent(60)
    reaper._database_time -= timedelta(seconds=60)
    assert reaper.step() == 0
    assert row().status == "running"
    reaper._observing_since -= 31
    reaper._ran_at -= 1
    assert reaper.step() == 1


def test_the_reaper_spares_who_is_heard_of():
    run = begin()
    silent(28)
    run.last_heartbeat -= 10
    assert Reaper(single_pass=True).step() == 0
    silent(28)
    RUNS.send_heartbeats([run])
    assert Reaper(single_pass=True).step() == 0
    assert row().status == "running"


def make_due(of):
    """Let the reaper end two jobs, "abc" first: of silent workers, or that no worker took up."""
    services.job_create(job_id="def", task_type="manual")
    for key, job_id in (("k1", "abc"), ("k2", "def")):
        begin(key, job_id=job_id)
    if of == "heartbeat":
        silent(61)
        silent(60, "k2")
    else:
        Task.objects.update(state="finished")
        Job.objects.update(deadline_at=timezone.now(), deadline_status="failed")


@pytest.mark.parametrize("of", ["heartbeat", "queue"])
def test_the_reaper_does_not_wait_for_a_job_that_somebody_has_locked(of):
    if connection.vendor == "sqlite":  # it has one lock, for all rows
        return
    make_due(of)
    with locked_elsewhere():
        assert Reaper(single_pass=True).step() == 1
    assert Job.objects.get(job_id="def").status == "failed"
    assert row().status == "running"


@pytest.mark.parametrize("of", ["heartbeat", "queue"])
def test_a_job_that_cannot_be_ended_holds_up_no_other(of, caplog):
    make_due(of)

    def refuse(instance, **_given):
        if instance.job_id == "abc" and instance.is_terminal:
            raise ValueError("not that one")

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


def test_what_the_database_did_not_take_is_said_at_the_next_beat():
    run = begin()
    run.last_heartbeat -= 10

    def refuse(execute, sql, *given):
        if sql.startswith("UPDATE"):
            raise OperationalError("It is away.")
        return execute(sql, *given)

    with connection.execute_wrapper(refuse), pytest.raises(OperationalError):
        RUNS.send_heartbeats([run])
    silent(31)
    RUNS.send_heartbeats([run])
    assert Reaper(single_pass=True).step() == 0


def test_the_reaper_knows_a_time_limit():
    begin(time_limit=10)
    silent(60)
    Task.objects.update(deadline=timezone.now())
    assert Reaper(single_pass=True).step() == 1
    assert read_events("abc")[-1].data["reason"] == "timed_out"


def test_the_reaper_spares_what_has_no_heartbeat():
    begin(sends_heartbeats=False)
    assert Reaper(single_pass=True).step() == 0


def test_a_job_that_nobody_takes_up(settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": {"lost": print}, "QUEUE_TIMEOUT": 60}
    services.job_create(job_id="def", task_type="lost")
    assert Reaper(single_pass=True).step() == 0
    Job.objects.filter(job_id="def").update(deadline_at=timezone.now())
    assert Reaper(single_pass=True).step() == 1
    lost = Job.objects.get(job_id="def")
    assert (lost.status, lost.error) == ("failed", "No worker claimed the job for 60 s.")
    assert read_events("def")[-1].data["reason"] == "queue_timeout"
    assert row().status == "pending"  # nobody was to take that up


def test_what_a_job_asks_is_answered_before_it_goes_on(monkeypatch):
    run = begin()
    with pytest.raises(Exception, match="A person has to answer"):
        run.ask("Sure?")
    RUNS.request_input(run, [Question("a", "A?"), Question("b", "B?", ("x",))], {"data": 1})
    assert Task.objects.get().state == "awaiting_input"
    with pytest.raises(DeliveryRejected, match="awaits input"):
        begin()
    assert Reaper(single_pass=True).step() == 0
    resumed = []
    monkeypatch.setattr(
        inputs, "resume_task", lambda *given: resumed.append((given[0].resume, given[1]))
    )
    inputs.input_give(job_id="abc", name="a", value=1)
    assert resumed == []
    inputs.input_give(job_id="abc", name="b", value="x")
    assert resumed == [({"data": 1}, 1)]
    again = begin()
    assert again.ask_all([Question("a", "A?"), Question("b", "B?")]) == [1, "x"]


def test_an_answer_that_comes_before_the_question_is_written_is_not_missed(monkeypatch):
    """A run before has asked the same, and was answered while this one looked."""
    run = begin()
    inputs.input_request(job_id="abc", name="a", prompt="A?")
    inputs.input_give(job_id="abc", name="a", value=1)
    resumed = []
    monkeypatch.setattr(inputs, "resume_task", lambda task, attempt: resumed.append(attempt))
    RUNS.request_input(run, [Question("a", "A?")], {})
    assert resumed == [1]


def test_a_queue_that_cannot_go_on_fails_the_job():
    run = begin()
    RUNS.request_input(run, [Question("a", "A?")], {})
    inputs.input_give(job_id="abc", name="a", value=1)
    assert row().status == "failed"
    assert "Unknown queue adapter 'test'" in row().error
