"""From a new job to what runs it."""

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


def remember(job_id, text, size=1):
    ran.append((job_id, text, size))


def do_it_all(job_id, **payload):
    services.job_start(job_id=job_id)
    services.job_complete(job_id=job_id, result=payload)


@shared_task
def remembering_task(job_id, text, size=1):
    remember(job_id, text, size)


@shared_task(bind=True)
def bound_task(self, job_id, text):
    remember(job_id, text, self.name)


NOT_CALLABLE = "text"


@pytest.fixture(autouse=True)
def _nothing_ran():
    ran.clear()


@pytest.fixture
def run_by(settings) -> Callable[[Any], None]:
    """Makes something the runner of the task_type `it`."""

    def run_by(runner):
        settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": {"it": runner}}

    return run_by


@pytest.fixture
def eager_celery():
    """Tasks run where they are sent; their messages are still what would go over the wire."""
    celery_app.conf.task_always_eager = True
    celery_app.conf.task_store_eager_result = False
    yield
    celery_app.conf.task_always_eager = False


def create(**payload):
    return services.job_create(task_type="it", payload=payload)


def status_of(job):
    job.refresh_from_db()
    return job.status


def test_a_callable(run_by):
    run_by(remember)
    job = create(text="a")
    assert ran == [(job.job_id, "a", 1)]
    assert status_of(job) == "pending"


@pytest.mark.parametrize(
    "runner", [f"{__name__}.remember", functools.partial(remember, size=1)]
)  # fmt: skip
def test_what_else_is_callable(run_by, runner):
    run_by(runner)
    job = create(text="a")
    assert ran == [(job.job_id, "a", 1)]


@pytest.mark.parametrize("runner", [remembering_task, f"{__name__}.remembering_task"])
def test_a_celery_task(run_by, eager_celery, runner):
    run_by(runner)
    job = create(text="a", size=2)
    assert ran == [(job.job_id, "a", 2)]


def test_a_bound_celery_task(run_by, eager_celery):
    run_by(bound_task)
    job = create(text="a")
    assert ran == [(job.job_id, "a", bound_task.name)]


def test_a_celery_task_is_sent_to_the_broker(run_by, redis_client):
    run_by(remembering_task)
    job = create(text="a")
    assert ran == []
    messages = redis_client.lrange("celery", 0, -1)
    assert len(messages) == 1
    assert job.job_id.encode() in messages[0]
    assert status_of(job) == "pending"


def test_a_runner_that_does_the_job(run_by, log_types):
    run_by(do_it_all)
    job = create(text="a")
    assert status_of(job) == "completed"
    assert log_types(job) == ["job_created", "task_started", "task_completed"]


def test_without_a_runner_a_job_waits(make_job):
    job = make_job(payload={"anything": 1})
    assert status_of(job) == "pending"
    assert dispatch.run(job.job_id, job.task_type, job.payload) is False


def test_a_runner_is_called_after_the_commit(run_by):
    run_by(remember)
    with transaction.atomic():
        create(text="a")
        assert ran == []
    assert len(ran) == 1


def test_a_job_that_was_rolled_back_is_not_run(run_by):
    run_by(remember)
    with transaction.atomic():
        create(text="a")
        transaction.set_rollback(True)
    assert ran == []


def test_a_retry_is_run_again_with_the_same_payload(run_by):
    run_by(remember)
    job = create(text="a", size=3)
    services.job_cancel(job_id=job.job_id)
    services.job_retry(job_id=job.job_id)
    assert ran == [(job.job_id, "a", 3)] * 2


def test_a_runner_that_fails_fails_the_job(run_by, log, caplog):
    def break_down(job_id):
        raise OSError("no paper")

    run_by(break_down)
    job = create()
    assert status_of(job) == "failed"
    assert job.error == log(job)[-1].data["error"] == "Dispatch failed: no paper"
    assert log(job)[-1].event_type == "task_failed"
    assert "job_dispatch_failed" in caplog.messages


def test_a_runner_that_fails_may_be_retried_until_it_works(run_by):
    def break_down(job_id):
        raise OSError("no paper")

    run_by(break_down)
    job = create()
    run_by(do_it_all)
    services.job_retry(job_id=job.job_id)
    assert status_of(job) == "completed"


def test_a_runner_that_ends_the_job_and_then_fails_changes_nothing(run_by, log_types):
    def end_and_break_down(job_id):
        do_it_all(job_id)
        raise OSError("too late")

    run_by(end_and_break_down)
    job = create()
    assert status_of(job) == "completed"
    assert log_types(job) == ["job_created", "task_started", "task_completed"]


def test_a_runner_that_deletes_the_job_and_then_fails_hurts_nobody(run_by):
    def delete_and_break_down(job_id):
        Job.objects.all().delete()
        raise OSError("too late")

    run_by(delete_and_break_down)
    create()
    assert not Job.objects.exists()


def test_a_failure_with_unspeakable_words_is_kept(run_by):
    def break_down(job_id):
        raise OSError("a\x00b \ud800")

    run_by(break_down)
    job = create()
    assert status_of(job) == "failed"
    assert job.error == "Dispatch failed: a\ufffdb \ufffd"


def test_a_runner_that_fails_does_not_stop_what_else_waits_for_the_commit(run_by):
    def break_down(job_id):
        raise OSError("no paper")

    run_by(break_down)
    with transaction.atomic():
        jobs = [create(), create()]
        transaction.on_commit(lambda: ran.append(("after",)))
    assert [status_of(job) for job in jobs] == ["failed", "failed"]
    assert ran == [("after",)]


@pytest.mark.timeout(30)
def test_a_broker_that_is_down_fails_the_job_soon(run_by, log):
    app = Celery("lost", set_as_current=False)
    app.config_from_object("django.conf:settings", namespace="CELERY")
    app.conf.broker_url = "redis+socket:///nonexistent/redis.sock"
    run_by(app.task(remember, name="remember"))
    job = create(text="a")
    assert status_of(job) == "failed"
    assert job.error.startswith("Dispatch failed: ")
    assert log(job)[-1].event_type == "task_failed"


# The payload must fit


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
@pytest.mark.parametrize("runner", [remember, remembering_task, f"{__name__}.remember"])
def test_a_payload_that_does_not_fit_is_refused_before_anything_is_written(
    run_by, log, runner, payload
):
    run_by(runner)
    with pytest.raises(InvalidJob, match="does not fit it") as caught:
        services.job_create(task_type="it", job_id="abc", payload=payload)
    assert caught.value.field == "payload"
    assert not Job.objects.exists()
    assert log("abc") == []
    assert ran == []


def test_a_bound_task_has_no_argument_self(run_by):
    run_by(bound_task)
    with pytest.raises(InvalidJob, match="self"):
        create(text="a", self=1)


@pytest.mark.parametrize("name", ["self", "args", "kwargs", "not a name", "class"])
def test_a_runner_that_takes_any_argument_takes_odd_ones(run_by, name):
    run_by(do_it_all)
    job = create(**{name: 1})
    assert status_of(job) == "completed"
    assert job.result == {name: 1}


def test_a_runner_that_takes_any_argument_still_has_one_job_id(run_by):
    run_by(do_it_all)
    with pytest.raises(InvalidJob, match="job_id"):
        create(job_id="other")


# Wrong runners


class Plan:
    """A callable with a `run` of its own that is none of our business."""

    def __call__(self, job_id, text):
        remember(job_id, text)

    def run(self):
        raise AssertionError


def test_a_callable_object_is_matched_by_its_call(run_by):
    run_by(Plan())
    job = create(text="a")
    assert ran == [(job.job_id, "a", 1)]


def test_a_callable_whose_arguments_nobody_knows_is_called(run_by):
    run_by(dict)
    job = create(text="a")
    assert status_of(job) == "failed"


@pytest.mark.parametrize(
    "path",
    ["", "nodots", "nowhere.at_all", "os.no_such_name", f"{__name__}.NOT_CALLABLE", "..", "os."],
)
def test_a_dotted_path_that_leads_nowhere(run_by, path):
    run_by(path)
    with pytest.raises(RunnerNotFound, match="'it'"):
        create(text="a")
    assert not Job.objects.exists()


def test_a_runner_lost_between_two_attempts_fails_the_second(run_by):
    run_by(remember)
    job = create(text="a")
    services.job_cancel(job_id=job.job_id)
    run_by("nowhere.at_all")
    services.job_retry(job_id=job.job_id)
    assert status_of(job) == "failed"
    assert "nowhere.at_all" in job.error


def test_any_object_with_apply_async_is_sent(run_by):
    sent = []
    run_by(
        SimpleNamespace(
            run=lambda job_id, text: None,
            apply_async=lambda args, kwargs: sent.append((args, kwargs)),
        )
    )
    job = create(text="a")
    assert sent == [((job.job_id,), {"text": "a"})]
