"""What third parties are told, and that they can hurt nobody."""

import pytest
from django.db import transaction

from events.publisher import get_publisher
from jobs import services, signals
from jobs.exceptions import InvalidTransition
from jobs.models import Job

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

ALL = {
    name: getattr(signals, name) for name in ("job_created", "job_status_changed", "job_progressed")
}


@pytest.fixture
def connect():
    """Connects receivers that go with the test; a weak reference would go before."""
    connected = []

    def connect(signal, receiver):
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


@pytest.fixture
def heard(connect):
    """The names and arguments of the signals that were sent."""
    heard = []
    for name, signal in ALL.items():
        connect(signal, lambda name=name, signal=None, **given: heard.append((name, given)))
    return heard


def test_each_step_is_told(heard, make_job):
    job = make_job()
    services.job_start(job_id=job.job_id)
    services.job_progress(job_id=job.job_id, progress=10)
    services.job_fail(job_id=job.job_id, error="boom")
    services.job_retry(job_id=job.job_id)
    services.job_cancel(job_id=job.job_id)
    assert [(name, given.get("old_status"), given.get("new_status")) for name, given in heard] == [
        ("job_created", None, None),
        ("job_status_changed", "pending", "running"),
        ("job_progressed", None, None),
        ("job_status_changed", "running", "failed"),
        ("job_status_changed", "failed", "pending"),
        ("job_status_changed", "pending", "cancelled"),
    ]
    assert {given["sender"] for _, given in heard} == {Job}
    assert {given["job"].job_id for _, given in heard} == {job.job_id}


def test_the_statuses_are_those_of_the_model(heard, make_job):
    make_job("running")
    given = heard[-1][1]
    assert given["old_status"] is Job.Status.PENDING
    assert given["new_status"] is Job.Status.RUNNING


def test_nothing_is_told_before_the_commit(heard, make_job):
    with transaction.atomic():
        make_job("completed")
        assert heard == []
    assert [name for name, _ in heard] == ["job_created", *["job_status_changed"] * 2]


def test_nothing_is_told_of_what_was_rolled_back(heard, make_job):
    with transaction.atomic():
        make_job("completed")
        transaction.set_rollback(True)
    assert heard == []


def test_a_refused_step_is_not_told(heard, make_job):
    job = make_job()
    heard.clear()
    with pytest.raises(InvalidTransition):
        services.job_complete(job_id=job.job_id)
    assert heard == []


def test_a_receiver_sees_the_committed_job(connect, make_job):
    seen = []
    connect(
        signals.job_status_changed,
        lambda job, **_: seen.append(Job.objects.get(job_id=job.job_id).status),
    )
    make_job("completed")
    assert seen == ["running", "completed"]
    assert not transaction.get_connection().in_atomic_block


def test_a_receiver_publishes_in_the_jobs_log(connect, make_job, log_types):
    def greet(job, new_status, **_):
        get_publisher().publish_event(job.job_id, {"event_type": f"noted_{new_status}"})

    connect(signals.job_status_changed, greet)
    job = make_job("completed")
    assert log_types(job) == [
        "job_created", "task_started", "noted_running", "task_completed", "noted_completed",
    ]  # fmt: skip


def test_a_receiver_may_take_the_next_step(connect, make_job, log_types):
    connect(signals.job_created, lambda job, **_: services.job_start(job_id=job.job_id))
    job = make_job()
    job.refresh_from_db()
    assert job.status == "running"
    assert log_types(job) == ["job_created", "task_started"]


@pytest.mark.parametrize("name", ALL)
def test_a_receiver_that_raises_hurts_nobody(connect, heard, make_job, log_types, caplog, name):
    def break_down(**_):
        raise RuntimeError("a fault of a third party")

    connect(ALL[name], break_down)
    heard.clear()
    job = make_job("running")
    services.job_progress(job_id=job.job_id, progress=10)
    services.job_complete(job_id=job.job_id)
    job.refresh_from_db()
    assert job.status == "completed"
    assert log_types(job) == ["job_created", "task_started", "task_progress", "task_completed"]
    assert [told for told, _ in heard] == [
        "job_created", "job_status_changed", "job_progressed", "job_status_changed",
    ]  # fmt: skip
    assert "a fault of a third party" in caplog.text


def test_a_receiver_that_spoils_its_database_query_hurts_nobody(connect, make_job):
    connect(signals.job_created, lambda **_: Job.objects.create(job_id=None))
    assert services.job_start(job_id=make_job().job_id).status == "running"


@pytest.mark.django_db(transaction=True)
def test_a_retry_is_told_before_what_its_runner_does(settings):
    """A runner that works at once changes the status too; receivers hear of it in order."""

    def runner(job_id):
        services.job_start(job_id=job_id)

    heard = []

    def receiver(old_status, new_status, **_kwargs):
        heard.append((old_status, new_status))

    job = services.job_create(task_type="x")
    services.job_cancel(job_id=job.job_id)
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": {"x": runner}}
    signals.job_status_changed.connect(receiver)
    try:
        services.job_retry(job_id=job.job_id)
    finally:
        signals.job_status_changed.disconnect(receiver)
    assert heard == [("cancelled", "pending"), ("pending", "running")]
