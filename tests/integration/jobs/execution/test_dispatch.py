"""Dispatch of new jobs to their runners."""

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, shared_task
from django.db import transaction

from config.celery import app as celery_app
from jobs import services
from jobs.exceptions import InvalidJob, RunnerNotFound
from jobs.execution import dispatch
from jobs.models import Job

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

ran: list[tuple[Any, ...]] = []


def record(job_id, text, size=1):
    ran.append((job_id, text, size))


def run_to_completion(job_id, **payload):
    services.job_start(job_id=job_id)
    services.job_complete(job_id=job_id, result=payload)


@shared_task
def recording_task(job_id, text, size=1):
    record(job_id, text, size)


@shared_task(bind=True)
def bound_task(self, job_id, text):
    record(job_id, text, self.name)


NOT_CALLABLE = "text"


@pytest.fixture(autouse=True)
def clear_ran():
    ran.clear()


@pytest.fixture
def run_by(settings) -> Callable[[Any], None]:
    """Return a function that sets the runner of the task_type `it`."""

    def run_by(runner):
        settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": {"it": runner}}

    return run_by


@pytest.fixture
def eager_celery():
    """Run tasks in this process, with serialized messages."""
    celery_app.conf.task_always_eager = True
    celery_app.conf.task_store_eager_result = False
    yield
    celery_app.conf.task_always_eager = False


def create(**payload):
    return services.job_create(task_type="it", payload=payload)


def status_of(job):
    job.refresh_from_db()
    return job.status


def test_callable(run_by):
    run_by(record)
    job = create(text="a")
    assert ran == [(job.job_id, "a", 1)]
    assert status_of(job) == "pending"


@pytest.mark.parametrize(
    "runner", [f"{__name__}.record", functools.partial(record, size=1)]
)  # fmt: skip
def test_other_callables(run_by, runner):
    run_by(runner)
    job = create(text="a")
    assert ran == [(job.job_id, "a", 1)]


@pytest.mark.parametrize("runner", [recording_task, f"{__name__}.recording_task"])
def test_celery_task(run_by, eager_celery, runner):
    run_by(runner)
    job = create(text="a", size=2)
    assert ran == [(job.job_id, "a", 2)]


def test_bound_celery_task(run_by, eager_celery):
    run_by(bound_task)
    job = create(text="a")
    assert ran == [(job.job_id, "a", bound_task.name)]


def test_celery_task_is_sent_to_broker(run_by, redis_client):
    run_by(recording_task)
    job = create(text="a")
    assert ran == []
    messages = redis_client.lrange("celery", 0, -1)
    assert len(messages) == 1
    assert job.job_id.encode() in messages[0]
    assert status_of(job) == "pending"


def test_runner_that_completes_job(run_by, log_types):
    run_by(run_to_completion)
    job = create(text="a")
    assert status_of(job) == "completed"
    assert log_types(job) == ["job_created", "task_started", "task_completed"]


def test_job_without_runner_stays_pending(make_job):
    job = make_job(payload={"anything": 1})
    assert status_of(job) == "pending"
    assert dispatch.run(job.job_id, job.task_type, job.payload) is False


def test_runner_is_called_after_commit(run_by):
    run_by(record)
    with transaction.atomic():
        create(text="a")
        assert ran == []
    assert len(ran) == 1


def test_rolled_back_job_is_not_run(run_by):
    run_by(record)
    with transaction.atomic():
        create(text="a")
        transaction.set_rollback(True)
    assert ran == []


def test_retry_has_same_payload(run_by):
    run_by(record)
    job = create(text="a", size=3)
    services.job_cancel(job_id=job.job_id)
    services.job_retry(job_id=job.job_id)
    assert ran == [(job.job_id, "a", 3)] * 2


def test_failing_runner_fails_job(run_by, log, caplog):
    def fail(job_id):
        raise OSError("disk full")

    run_by(fail)
    job = create()
    assert status_of(job) == "failed"
    assert job.error == log(job)[-1].data["error"] == "Dispatch failed: disk full"
    assert log(job)[-1].event_type == "task_failed"
    assert "job_dispatch_failed" in caplog.messages


def test_failed_dispatch_can_be_retried(run_by):
    def fail(job_id):
        raise OSError("disk full")

    run_by(fail)
    job = create()
    run_by(run_to_completion)
    services.job_retry(job_id=job.job_id)
    assert status_of(job) == "completed"


def test_runner_error_after_completion_is_ignored(run_by, log_types):
    def complete_and_fail(job_id):
        run_to_completion(job_id)
        raise OSError("too late")

    run_by(complete_and_fail)
    job = create()
    assert status_of(job) == "completed"
    assert log_types(job) == ["job_created", "task_started", "task_completed"]


def test_runner_error_after_deletion_is_ignored(run_by):
    def delete_and_fail(job_id):
        Job.objects.all().delete()
        raise OSError("too late")

    run_by(delete_and_fail)
    create()
    assert not Job.objects.exists()


def test_error_with_invalid_characters(run_by):
    def fail(job_id):
        raise OSError("a\x00b \ud800")

    run_by(fail)
    job = create()
    assert status_of(job) == "failed"
    assert job.error == "Dispatch failed: a\ufffdb \ufffd"


def test_failing_runner_does_not_block_other_commit_hooks(run_by):
    def fail(job_id):
        raise OSError("disk full")

    run_by(fail)
    with transaction.atomic():
        jobs = [create(), create()]
        transaction.on_commit(lambda: ran.append(("after",)))
    assert [status_of(job) for job in jobs] == ["failed", "failed"]
    assert ran == [("after",)]


@pytest.mark.timeout(30)
def test_unavailable_broker_fails_job_quickly(run_by, log, settings):
    settings.CELERY_BROKER_URL = "redis+socket:///nonexistent/redis.sock"
    app = Celery("lost", set_as_current=False)
    app.config_from_object("django.conf:settings", namespace="CELERY")
    run_by(app.task(record, name="record"))
    job = create(text="a")
    assert status_of(job) == "failed"
    assert job.error.startswith("Dispatch failed: ")
    assert log(job)[-1].event_type == "task_failed"


# Payload validation


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"text": "a", "colour": "red"},
        {"size": 1},
        {"text": "a", "job_id": "other"},
        {"text": "a", "self": 1},
        {"": 1, "text": "a"},
    ],
)
@pytest.mark.parametrize("runner", [record, recording_task, f"{__name__}.record"])
def test_mismatched_payload_is_rejected_before_writing(run_by, log, runner, payload):
    run_by(runner)
    with pytest.raises(InvalidJob, match="does not fit it") as caught:
        services.job_create(task_type="it", job_id="abc", payload=payload)
    assert caught.value.field == "payload"
    assert not Job.objects.exists()
    assert log("abc") == []
    assert ran == []


def test_bound_task_has_no_argument_self(run_by):
    run_by(bound_task)
    with pytest.raises(InvalidJob, match="self"):
        create(text="a", self=1)


@pytest.mark.parametrize("name", ["self", "args", "kwargs", "not a name", "class"])
def test_runner_with_kwargs_accepts_unusual_names(run_by, name):
    run_by(run_to_completion)
    job = create(**{name: 1})
    assert status_of(job) == "completed"
    assert job.result == {name: 1}


def test_runner_with_kwargs_rejects_second_job_id(run_by):
    run_by(run_to_completion)
    with pytest.raises(InvalidJob, match="job_id"):
        create(job_id="other")


# Invalid runners


class CallableObject:
    """A callable with an unrelated method `run`."""

    def __call__(self, job_id, text):
        record(job_id, text)

    def run(self):
        raise AssertionError


def test_callable_object_is_validated_by_its_call(run_by):
    run_by(CallableObject())
    job = create(text="a")
    assert ran == [(job.job_id, "a", 1)]


def test_callable_without_signature_is_called(run_by):
    run_by(dict)
    job = create(text="a")
    assert status_of(job) == "failed"


@pytest.mark.parametrize(
    "path",
    ["", "nodots", "nowhere.at_all", "os.no_such_name", f"{__name__}.NOT_CALLABLE", "..", "os."],
)
def test_invalid_dotted_path(run_by, path):
    run_by(path)
    with pytest.raises(RunnerNotFound, match="'it'"):
        create(text="a")
    assert not Job.objects.exists()


def test_removed_runner_fails_next_attempt(run_by):
    run_by(record)
    job = create(text="a")
    services.job_cancel(job_id=job.job_id)
    run_by("nowhere.at_all")
    services.job_retry(job_id=job.job_id)
    assert status_of(job) == "failed"
    assert "nowhere.at_all" in job.error


def test_object_with_apply_async(run_by):
    sent = []
    run_by(
        SimpleNamespace(
            run=lambda job_id, text: None,
            apply_async=lambda args, kwargs: sent.append((args, kwargs)),
        )
    )
    job = create(text="a")
    assert sent == [((job.job_id,), {"text": "a"})]
