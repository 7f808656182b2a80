"""Celery tasks without a worker: eager, called directly, and what is refused."""

import json
import subprocess
import sys

import pytest
from billiard.exceptions import WorkerLostError
from celery import chain, group, shared_task, signals
from celery.app.task import Context
from django.db import transaction

from config.celery import app
from events.execution.run import current_run
from events.history import read_events
from events.integrations.celery import ATTEMPT_HEADER, JobTask, follows_job
from events.streams.clients import get_redis
from jobs import inputs, services
from jobs.models import Job, Task

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def eager():
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False


@pytest.fixture
def job():
    return services.job_create(job_id="abc", task_type="manual")


def kinds():
    return [event.event_type for event in read_events("abc")]


def row():
    return Job.objects.get(job_id="abc")


@shared_task(base=JobTask, bind=True, name="eager.work")
def work(self, job_id, value=None):
    self.progress(50)
    return value


@shared_task(base=JobTask, bind=True, name="eager.step", ends_job=False)
def step(self, job_id, value=None):
    return value


@shared_task(base=JobTask, bind=True, name="eager.named", job_argument="report", task_type="paint")
def named(self, value, *, report=None):
    return (self.job_run.task_type, value) if report else "no job"


@shared_task(
    name="eager.tried",
    autoretry_for=(Exception,),
    dont_autoretry_for=(KeyError,),
    retry_kwargs={"max_retries": 5, "countdown": 0},
)
@follows_job
def tried(job_id, error):
    raise {"key": KeyError, "value": ValueError}[error](error)


@pytest.mark.parametrize("how", ["delay", "apply", "call"])
def test_a_task_in_this_process(job, how):
    if how == "delay":
        result = work.delay("abc", value=5).get()
    elif how == "apply":
        result = work.apply(("abc",), {"value": 5}).get()
    else:
        result = work("abc", value=5)
    assert (result, row().status, row().result) == (5, "completed", 5)
    assert kinds() == ["job_created", "task_started", "task_progress", "task_completed"]


@pytest.mark.parametrize(("error", "retries"), [("key", 0), ("value", 5)])
def test_a_decorated_task_is_retried_as_often_as_celery_does_it(job, error, retries):
    """Celery's default for a task is three, and `retry_kwargs` says otherwise."""
    tried.delay("abc", error)
    assert kinds() == [
        "job_created", *["task_started", "task_retry"] * retries, "task_started", "task_failed",
    ]  # fmt: skip
    assert row().status == "failed"


def test_steps_say_that_they_do_not_end_their_job(job):
    chain(step.si("abc", 1), group(step.si("abc", 2), step.si("abc", 3)), work.si("abc", 4)).delay()
    assert (row().status, row().result) == ("completed", 4)
    assert kinds().count("task_completed") == 4


def test_the_argument_may_have_another_name(job):
    assert named(5, report="abc") == ("paint", 5)
    assert row().status == "completed"


def test_without_a_job_it_is_a_task_like_any_other(job):
    assert named.delay(5).get() == "no job"
    assert row().status == "pending"


def test_a_task_without_the_argument_says_so():
    @shared_task(base=JobTask, bind=True, name="eager.lacking")
    def lacking(self, other):
        """Nothing."""

    with pytest.raises(TypeError, match="has no argument 'job_id' for the job_id"):
        lacking.delay(5)


def test_wrong_arguments_are_told_as_ever(job):
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        work.delay("abc", wrong=5)


def test_a_decorator_takes_what_it_knows():
    with pytest.raises(TypeError, match="unexpected keyword argument 'kind'"):
        follows_job(kind="x")(print)


def test_outside_of_a_run_there_is_no_publisher():
    assert current_run() is None
    with pytest.raises(RuntimeError, match="There is no current task run"):
        work.progress(5)


def test_a_rolled_back_request_starts_nothing(job):
    with transaction.atomic():
        work.delay_on_commit("abc")
        transaction.set_rollback(True)
    assert kinds() == ["job_created"]
    with transaction.atomic():
        work.delay_on_commit("abc")
        assert row().status == "pending"
    assert row().status == "completed"


def test_a_worker_that_throws_an_older_message_away_does_not_cancel_the_retry(job):
    """It was revoked as its job was cancelled, and a worker comes to it after the retry."""
    services.job_cancel(job_id="abc")
    services.job_retry(job_id="abc")
    for attempt, status in ((1, "pending"), (2, "cancelled")):
        sent = Context(id=f"k{attempt}", args=("abc",), kwargs={}, **{ATTEMPT_HEADER: attempt})
        signals.task_revoked.send(sender=work, request=sent, terminated=False, expired=False)
        assert row().status == status


@pytest.mark.parametrize(("attempt", "status"), [(1, "pending"), (2, "failed")])
def test_a_decorated_task_whose_child_died_before_it_began(job, attempt, status):
    services.job_cancel(job_id="abc")
    services.job_retry(job_id="abc")
    tried.push_request(id="k", **{ATTEMPT_HEADER: attempt})
    try:
        died = {"task_id": "k", "exception": WorkerLostError("killed"), "args": ("abc", "value")}
        signals.task_failure.send(sender=tried, kwargs={}, **died)
    finally:
        tried.pop_request()
    assert row().status == status


@pytest.fixture
def sent():
    """The headers of what is sent to workers, of whom there is none."""
    app.conf.task_always_eager = False
    queue = app.conf.task_default_queue
    return lambda: [json.loads(each)["headers"] for each in get_redis().lrange(queue, 0, -1)]


@pytest.mark.parametrize("task", [work, tried])
def test_a_message_says_for_which_attempt_it_is(job, sent, task):
    task.delay("abc", "value")
    services.job_cancel(job_id="abc")
    services.job_retry(job_id="abc")
    task.delay("abc", "value")
    task.delay(None, "value")
    assert [headers.get(ATTEMPT_HEADER) for headers in sent()] == [None, 2, 1]
    assert not Task.objects.exists()


@pytest.mark.parametrize("task", [work, tried])
def test_the_job_is_told_of_all_tasks_of_a_group(job, sent, task):
    group(task.si("abc", "value"), task.si("abc", "error")).apply_async()
    assert {headers[ATTEMPT_HEADER] for headers in sent()} == {1}
    waiting = Task.objects.filter(state="queued", group_key=sent()[0]["group"])
    assert sorted(waiting.values_list("external_id", flat=True)) == sorted(
        headers["id"] for headers in sent()
    )


def test_a_message_of_an_older_attempt_is_dropped(job):
    services.job_fail(job_id="abc", error="oh")
    services.job_retry(job_id="abc")
    work.apply(("abc",), headers={ATTEMPT_HEADER: 1})
    assert row().status == "pending"
    work.apply(("abc",), headers={ATTEMPT_HEADER: 2})
    assert (row().status, row().attempt) == ("completed", 2)


def test_what_a_task_cannot_be_asked_again_with_fails_its_job(job):
    @shared_task(base=JobTask, bind=True, name="eager.asks")
    def asks(self, job_id, what):
        return self.ask("Sure?")

    with pytest.raises(Exception, match="arguments"):
        asks.apply(("abc", object())).get()
    assert row().status == "failed"


def test_an_error_of_ones_own_at_an_answer_is_not_taken_for_the_end(job):
    """InvalidTransition means that the job is over only if it is."""

    @shared_task(base=JobTask, bind=True, name="eager.confused")
    def confused(self, job_id):
        services.job_start(job_id=job_id)

    with pytest.raises(Exception, match="cannot be started"):
        confused.apply(("abc",)).get()
    assert row().status == "failed"
    assert "cannot be started" in row().error


def test_replace_goes_on_as_the_same_task(job):
    @shared_task(base=JobTask, bind=True, name="eager.replaced")
    def replaced(self, job_id):
        return self.replace(work.si(job_id, 7))

    replaced.delay("abc")
    assert row().result == 7
    assert Task.objects.filter(state="running").count() == 0


def test_an_answer_wakes_the_task(job):
    @shared_task(base=JobTask, bind=True, name="eager.woken")
    def woken(self, job_id):
        return self.ask("Who?")

    woken.delay("abc")
    assert (row().status, kinds()[-1]) == ("running", "input_requested")
    inputs.input_give(job_id="abc", name="input-1", value="Anna")
    assert (row().status, row().result) == ("completed", "Anna")


def test_without_celery_it_says_what_to_install():
    code = (
        "import sys; sys.modules['celery'] = None; sys.modules['billiard'] = None\n"
        "import events.integrations.celery"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'django-job-events[celery]'" in done.stderr
