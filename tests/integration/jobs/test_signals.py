"""Signals: when they are sent, and failing receivers."""

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
    """Connects receivers for one test; signals keep weak references only."""
    connected = []

    def connect(signal, receiver):
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


@pytest.fixture
def sent(connect):
    """Names and arguments of the signals that were sent."""
    sent = []
    for name, signal in ALL.items():
        connect(signal, lambda name=name, signal=None, **arguments: sent.append((name, arguments)))
    return sent


def test_each_transition_sends_signals(sent, make_job):
    job = make_job()
    services.job_start(job_id=job.job_id)
    services.job_progress(job_id=job.job_id, progress=10)
    services.job_fail(job_id=job.job_id, error="boom")
    services.job_retry(job_id=job.job_id)
    services.job_cancel(job_id=job.job_id)
    assert [(name, each.get("old_status"), each.get("new_status")) for name, each in sent] == [
        ("job_created", None, None),
        ("job_status_changed", "pending", "running"),
        ("job_progressed", None, None),
        ("job_status_changed", "running", "failed"),
        ("job_status_changed", "failed", "pending"),
        ("job_status_changed", "pending", "cancelled"),
    ]
    assert {arguments["sender"] for _, arguments in sent} == {Job}
    assert {arguments["job"].job_id for _, arguments in sent} == {job.job_id}


def test_statuses_are_members_of_the_enum(sent, make_job):
    make_job("running")
    arguments = sent[-1][1]
    assert arguments["old_status"] is Job.Status.PENDING
    assert arguments["new_status"] is Job.Status.RUNNING


def test_signals_are_sent_after_the_commit(sent, make_job):
    with transaction.atomic():
        make_job("completed")
        assert sent == []
    assert [name for name, _ in sent] == ["job_created", *["job_status_changed"] * 2]


def test_rollback_sends_no_signals(sent, make_job):
    with transaction.atomic():
        make_job("completed")
        transaction.set_rollback(True)
    assert sent == []


def test_refused_transition_sends_no_signals(sent, make_job):
    job = make_job()
    sent.clear()
    with pytest.raises(InvalidTransition):
        services.job_complete(job_id=job.job_id)
    assert sent == []


def test_receiver_reads_the_committed_job(connect, make_job):
    seen = []
    connect(
        signals.job_status_changed,
        lambda job, **_: seen.append(Job.objects.get(job_id=job.job_id).status),
    )
    make_job("completed")
    assert seen == ["running", "completed"]
    assert not transaction.get_connection().in_atomic_block


def test_receiver_publishes_to_the_log_of_the_job(connect, make_job, log_types):
    def greet(job, new_status, **_):
        get_publisher().publish_event(job.job_id, {"event_type": f"noted_{new_status}"})

    connect(signals.job_status_changed, greet)
    job = make_job("completed")
    assert log_types(job) == [
        "job_created", "task_started", "noted_running", "task_completed", "noted_completed",
    ]  # fmt: skip


def test_receiver_may_call_a_service(connect, make_job, log_types):
    connect(signals.job_created, lambda job, **_: services.job_start(job_id=job.job_id))
    job = make_job()
    job.refresh_from_db()
    assert job.status == "running"
    assert log_types(job) == ["job_created", "task_started"]


@pytest.mark.parametrize("name", ALL)
def test_exception_of_a_receiver_is_logged(connect, sent, make_job, log_types, caplog, name):
    def fail(**_):
        raise RuntimeError("error in a receiver")

    connect(ALL[name], fail)
    sent.clear()
    job = make_job("running")
    services.job_progress(job_id=job.job_id, progress=10)
    services.job_complete(job_id=job.job_id)
    job.refresh_from_db()
    assert job.status == "completed"
    assert log_types(job) == ["job_created", "task_started", "task_progress", "task_completed"]
    assert [name for name, _ in sent] == [
        "job_created", "job_status_changed", "job_progressed", "job_status_changed",
    ]  # fmt: skip
    assert "error in a receiver" in caplog.text


def test_database_error_in_a_receiver(connect, make_job):
    connect(signals.job_created, lambda **_: Job.objects.create(job_id=None))
    assert services.job_start(job_id=make_job().job_id).status == "running"


@pytest.mark.django_db(transaction=True)
def test_signal_of_a_retry_precedes_those_of_its_runner(settings):
    """A synchronous runner changes the status too; receivers are called in order."""

    def runner(job_id):
        services.job_start(job_id=job_id)

    sent = []

    def receiver(old_status, new_status, **_kwargs):
        sent.append((old_status, new_status))

    job = services.job_create(task_type="x")
    services.job_cancel(job_id=job.job_id)
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": {"x": runner}}
    signals.job_status_changed.connect(receiver)
    try:
        services.job_retry(job_id=job.job_id)
    finally:
        signals.job_status_changed.disconnect(receiver)
    assert sent == [("cancelled", "pending"), ("pending", "running")]
