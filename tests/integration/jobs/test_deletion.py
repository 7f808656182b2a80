"""Deletion of jobs: by the service, with their owner, and by the ORM; workers of deleted jobs."""

import logging
from functools import partial
from threading import Barrier, Thread

import pytest
from django.db import connections, transaction

from events.erasure import Eraser
from events.exceptions import DeliveryRejected, JobCancelled, LogDeleted
from events.execution.adapter import QueueAdapter
from events.execution.run import Delivery, current_run
from events.models import ArchivedEvent, EventLog
from events.publisher import get_publisher
from jobs import inputs, services, signals
from jobs.exceptions import JobError, JobExists, JobNotFound
from jobs.execution.tracker import JobRunTracker
from jobs.models import InputRequest, Job, Task
from tests.integration.jobs.conftest import TRANSITIONS, archived

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def check_deleted(job_id="abc"):
    assert not Job.objects.filter(job_id=job_id).exists()
    assert not Task.objects.filter(job__job_id=job_id).exists()
    assert not InputRequest.objects.filter(job__job_id=job_id).exists()
    assert EventLog.objects.get(job_id=job_id).erased_at is not None
    assert not ArchivedEvent.objects.filter(log__job_id=job_id).exists()
    with pytest.raises(LogDeleted):
        get_publisher().publish_event(job_id, {"n": 1})


@pytest.fixture
def deletions():
    """The arguments of the signal `job_deleted` that were sent."""
    sent = []

    def receive(job, by, **_kwargs):
        sent.append((job.job_id, by))

    signals.job_deleted.connect(receive)
    yield sent
    signals.job_deleted.disconnect(receive)


def message(key="k1", **fields):
    return Delivery(**{
        "queue": "test", "external_id": key, "job_id": "abc", "task_type": "work", **fields,
    })  # fmt: skip


# The service


@pytest.mark.parametrize("status", TRANSITIONS)
def test_job_of_any_status_is_deleted(make_job, user, deletions, caplog, status):
    caplog.set_level(logging.INFO, "jobs")
    make_job(status, job_id="abc", title="cinnamon")
    make_job(status, job_id="other")
    get_publisher().publish_event("abc", {"n": 1})
    archived()
    services.job_delete(job_id="abc", by=user)
    check_deleted()
    assert deletions == [("abc", user)]
    (record,) = [record for record in caplog.records if record.message == "job_deleted"]
    assert (record.job_id, record.by) == ("abc", "anna")
    assert "cinnamon" not in caplog.text
    assert Job.objects.get().job_id == "other"
    assert services.job_delete(job_id="other") is None


def test_tasks_and_questions_are_deleted(make_job):
    make_job("running", job_id="abc")
    JobRunTracker().claim(message())
    inputs.input_request(job_id="abc", name="q", prompt="Really?")
    services.job_delete(job_id="abc")
    check_deleted()
    assert not Task.objects.exists()
    assert not InputRequest.objects.exists()


def test_deleted_job_does_not_exist(make_job, deletions):
    make_job("running", job_id="abc")
    services.job_delete(job_id="abc")
    for service, arguments in (
        (services.job_delete, {}),
        (services.job_progress, {"progress": 1}),
        (services.job_complete, {}),
        (services.job_cancel, {}),
        (services.job_retry, {}),
        (inputs.input_request, {"name": "q", "prompt": "?"}),
    ):
        with pytest.raises(JobNotFound):
            service(job_id="abc", **arguments)
    assert len(deletions) == 1


def test_rollback(make_job, deletions, log_types):
    make_job("running", job_id="abc")
    with transaction.atomic():
        services.job_delete(job_id="abc")
        transaction.set_rollback(True)
    assert deletions == []
    services.job_complete(job_id="abc")
    assert log_types("abc") == ["job_created", "task_started", "task_completed"]


def test_job_id_of_a_deleted_job_is_refused(make_job):
    make_job(job_id="abc")
    services.job_delete(job_id="abc")
    with pytest.raises(JobExists):
        services.job_create(job_id="abc", task_type="manual")
    check_deleted()


def test_without_redis(make_job, redis_down):
    make_job("running", job_id="abc")
    services.job_delete(job_id="abc")
    assert not Job.objects.exists()
    with pytest.raises(JobExists):
        services.job_create(job_id="abc", task_type="manual")
    redis_down()
    assert Eraser().step() == 1
    check_deleted()


# Other ways


def test_jobs_of_a_user_are_deleted_with_the_user(make_job, user, deletions):
    for job_id in ("one", "two"):
        make_job("running", job_id=job_id, owner=user)
    make_job(job_id="other")
    archived()
    user.delete()
    assert sorted(deletions) == [("one", None), ("two", None)]
    for job_id in ("one", "two"):
        check_deleted(job_id)
    assert Job.objects.get().job_id == "other"


@pytest.mark.parametrize(
    "delete", [lambda: Job.objects.get().delete(), lambda: Job.objects.all().delete()]
)
def test_rows_that_the_orm_deletes(make_job, deletions, delete):
    make_job(job_id="abc")
    delete()
    assert deletions == [("abc", None)]
    check_deleted()


def test_row_without_a_log():
    Job.objects.create(job_id="abc")
    services.job_delete(job_id="abc")
    check_deleted()


def test_concurrent_changes_and_deletions(make_job):
    """Neither blocks the other for ever; the deletion prevails."""
    for number in range(10):
        job_id = f"job{number}"
        make_job("running", job_id=job_id)
        calls = [
            lambda job_id=job_id: services.job_delete(job_id=job_id),
            lambda job_id=job_id: Job.objects.filter(job_id=job_id).delete(),
            lambda job_id=job_id: services.job_progress(job_id=job_id, progress=1),
            lambda job_id=job_id: services.job_fail(job_id=job_id, error="boom"),
        ]
        barrier, errors = Barrier(len(calls)), []

        def run(call, barrier=barrier, errors=errors):
            barrier.wait()
            try:
                call()
            except JobError:
                pass  # deleted or failed meanwhile
            except Exception as error:  # noqa: BLE001 - checked below
                errors.append(error)
            finally:
                connections.close_all()

        threads = [Thread(target=run, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        while Eraser().step():
            pass
        check_deleted(job_id)


# Workers


def run_task(task):
    return QueueAdapter().run(message(), task)


def test_running_task_is_stopped(make_job):
    make_job("running", job_id="abc")
    errors = []

    def task():
        services.job_delete(job_id="abc")
        for call in (partial(current_run().progress, 10), current_run().check_cancelled):
            try:
                call()
            except Exception as error:  # noqa: BLE001 - checked below
                errors.append(type(error))

    assert run_task(task) is None
    assert errors == [JobCancelled, JobCancelled]
    check_deleted()


@pytest.mark.parametrize("error", [None, ValueError("boom")])
def test_outcome_of_a_late_task_is_ignored(make_job, error):
    make_job("running", job_id="abc")

    def task():
        services.job_delete(job_id="abc")
        if error is not None:
            raise error

    if error is None:
        assert run_task(task) is None
    else:
        with pytest.raises(ValueError, match="boom"):
            run_task(task)
    check_deleted()


def test_task_that_publishes_is_stopped(make_job):
    make_job("running", job_id="abc")

    def task():
        services.job_delete(job_id="abc")
        current_run().publisher.publish_event("abc", {"n": 1})

    assert run_task(task) is None
    check_deleted()


def test_heartbeat_reports_the_deletion(make_job):
    make_job("running", job_id="abc")
    tracker = JobRunTracker()
    stopped = []

    def task():
        services.job_delete(job_id="abc")
        stopped.append(list(tracker.send_heartbeats([current_run()])) == [current_run()])

    run_task(task)
    assert stopped == [True]


def test_queued_message_is_rejected(make_job):
    make_job(job_id="abc")
    tracker = JobRunTracker()
    services.job_delete(job_id="abc")
    with pytest.raises(DeliveryRejected, match="deleted"):
        tracker.claim(message())
    with pytest.raises(JobNotFound):
        tracker.claim(message(job_id="unknown"))
