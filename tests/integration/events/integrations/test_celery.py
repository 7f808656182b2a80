"""Celery tasks without a worker: eager, called directly, sent, and rejected."""

import json
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from billiard.exceptions import WorkerLostError
from celery import chain, group, shared_task, signals
from celery.app.task import Context
from django.db import transaction
from django.utils.functional import SimpleLazyObject

from config.celery import app
from events.execution.run import current_run
from events.history import read_events
from events.integrations.celery import ATTEMPT_HEADER, JobTask, follows_job
from events.streams.clients import get_redis
from jobs import inputs, services
from jobs.models import InputRequest, Job, Task

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
def test_task_in_this_process(job, how):
    if how == "delay":
        result = work.delay("abc", value=5).get()
    elif how == "apply":
        result = work.apply(("abc",), {"value": 5}).get()
    else:
        result = work("abc", value=5)
    assert (result, row().status, row().result) == (5, "completed", 5)
    assert kinds() == ["job_created", "task_started", "task_progress", "task_completed"]


@pytest.mark.parametrize(("error", "retries"), [("key", 0), ("value", 5)])
def test_decorated_task_has_retry_limit_of_celery(job, error, retries):
    """`retry_kwargs` overrides Celery's default of three."""
    tried.delay("abc", error)
    assert kinds() == [
        "job_created", *["task_started", "task_retry"] * retries, "task_started", "task_failed",
    ]  # fmt: skip
    assert row().status == "failed"


def test_steps_that_do_not_end_their_job(job):
    chain(step.si("abc", 1), group(step.si("abc", 2), step.si("abc", 3)), work.si("abc", 4)).delay()
    assert (row().status, row().result) == ("completed", 4)
    assert kinds().count("task_completed") == 4


def test_job_argument_and_task_type(job):
    assert named(5, report="abc") == ("paint", 5)
    assert row().status == "completed"


def test_result_that_cannot_be_loaded(job):
    @shared_task(base=JobTask, name="eager.lazy", ignore_result=True)
    def lazy(job_id):
        return SimpleLazyObject(lambda: 1 / 0)

    with suppress(ZeroDivisionError):  # Celery logs the result
        lazy.delay("abc")
    assert row().status == "completed"


def test_task_without_job(job):
    assert named.delay(5).get() == "no job"
    assert row().status == "pending"


def test_missing_job_argument():
    @shared_task(base=JobTask, bind=True, name="eager.lacking")
    def lacking(self, other):
        """Has no argument job_id."""

    with pytest.raises(TypeError, match="has no argument 'job_id' for the job_id"):
        lacking.delay(5)


def test_invalid_arguments(job):
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        work.delay("abc", wrong=5)


def test_unknown_option_of_decorator():
    with pytest.raises(TypeError, match="unexpected keyword argument 'kind'"):
        follows_job(kind="x")(print)


def test_no_publisher_outside_of_a_run():
    assert current_run() is None
    with pytest.raises(RuntimeError, match="There is no current task run"):
        work.progress(5)


def test_rolled_back_send_starts_nothing(job):
    with transaction.atomic():
        work.delay_on_commit("abc")
        transaction.set_rollback(True)
    assert kinds() == ["job_created"]
    with transaction.atomic():
        work.delay_on_commit("abc")
        assert row().status == "pending"
    assert row().status == "completed"


def test_revoked_message_of_earlier_attempt_does_not_cancel_retry(job):
    """A worker discards it after the retry of the cancelled job."""
    services.job_cancel(job_id="abc")
    services.job_retry(job_id="abc")
    for attempt, status in ((1, "pending"), (2, "cancelled")):
        sent = Context(id=f"k{attempt}", args=("abc",), kwargs={}, **{ATTEMPT_HEADER: attempt})
        signals.task_revoked.send(sender=work, request=sent, terminated=False, expired=False)
        assert row().status == status


@pytest.mark.parametrize(("attempt", "status"), [(1, "pending"), (2, "failed")])
def test_child_of_decorated_task_died_before_start(job, attempt, status):
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
    """Return a function that returns the headers of the sent messages."""
    app.conf.task_always_eager = False
    queue = app.conf.task_default_queue
    return lambda: [json.loads(each)["headers"] for each in get_redis().lrange(queue, 0, -1)]


@pytest.mark.parametrize("task", [work, tried])
def test_message_has_attempt(job, sent, task):
    task.delay("abc", "value")
    services.job_cancel(job_id="abc")
    services.job_retry(job_id="abc")
    task.delay("abc", "value")
    task.delay(None, "value")
    assert [headers.get(ATTEMPT_HEADER) for headers in sent()] == [None, 2, 1]
    assert not Task.objects.exists()


@pytest.mark.parametrize("task", [work, tried])
def test_group_announces_its_tasks(job, sent, task):
    group(task.si("abc", "value"), task.si("abc", "error")).apply_async()
    assert {headers[ATTEMPT_HEADER] for headers in sent()} == {1}
    queued = Task.objects.filter(state="queued", group_key=sent()[0]["group"])
    assert sorted(queued.values_list("external_id", flat=True)) == sorted(
        headers["id"] for headers in sent()
    )


def test_message_of_earlier_attempt_is_discarded(job):
    services.job_fail(job_id="abc", error="failed")
    services.job_retry(job_id="abc")
    work.apply(("abc",), headers={ATTEMPT_HEADER: 1})
    assert row().status == "pending"
    work.apply(("abc",), headers={ATTEMPT_HEADER: 2})
    assert (row().status, row().attempt) == ("completed", 2)


def test_unserializable_arguments_prevent_suspension(job):
    @shared_task(base=JobTask, bind=True, name="eager.requests_input")
    def requests_input(self, job_id, what):
        return self.ask("Sure?")

    with pytest.raises(Exception, match="arguments"):
        requests_input.apply(("abc", object())).get()
    assert row().status == "failed"


def test_invalid_transition_of_task_code_fails_job(job):
    """InvalidTransition stops a task silently only if its job is terminal."""

    @shared_task(base=JobTask, bind=True, name="eager.confused")
    def confused(self, job_id):
        services.job_start(job_id=job_id)

    with pytest.raises(Exception, match="cannot be started"):
        confused.apply(("abc",)).get()
    assert row().status == "failed"
    assert "cannot be started" in row().error


def test_replace_continues_as_same_task(job):
    @shared_task(base=JobTask, bind=True, name="eager.replaced")
    def replaced(self, job_id):
        return self.replace(work.si(job_id, 7))

    replaced.delay("abc")
    assert row().result == 7
    assert Task.objects.filter(state="running").count() == 0


def test_answer_resumes_task(job):
    @shared_task(base=JobTask, bind=True, name="eager.resumed")
    def resumed(self, job_id):
        return self.ask("Who?")

    resumed.delay("abc")
    assert (row().status, kinds()[-1]) == ("running", "input_requested")
    inputs.input_give(job_id="abc", name="input-1", value="Anna")
    assert (row().status, row().result) == ("completed", "Anna")


def test_tasks_of_an_attempt_get_the_answers_to_their_own_questions(job):
    @shared_task(base=JobTask, bind=True, name="eager.asks", ends_job=False)
    def asks(self, job_id, *prompts):
        answers.append([self.ask(prompt) for prompt in prompts])

    answers = []
    asks.delay("abc", "A?", "B?")
    asks.delay("abc", "C?")
    for _ in range(3):
        request = InputRequest.objects.filter(answered_at=None).first()
        inputs.input_give(job_id="abc", name=request.name, value=request.prompt.lower())
    assert sorted(answers) == [["a?", "b?"], ["c?"]]
    names = InputRequest.objects.order_by("name").values_list("name", flat=True)
    assert list(names) == ["input-1", "input-2", "input-3"]


def test_arguments_of_a_resumed_task_keep_their_types(job):
    arguments = (Decimal("1.50"), datetime(2026, 1, 2, tzinfo=UTC), UUID(int=7), date(2026, 1, 2))
    given = []

    @shared_task(base=JobTask, bind=True, name="eager.resumed_with")
    def resumed_with(self, job_id, *args, **kwargs):
        given.append((args, kwargs))
        return self.ask("Who?")

    resumed_with.delay("abc", *arguments, price=Decimal(2))
    inputs.input_give(job_id="abc", name="input-1", value="Anna")
    assert row().result == "Anna"
    assert given == [(arguments, {"price": Decimal(2)})] * 2


def test_error_names_missing_extra():
    code = (
        "import sys; sys.modules['celery'] = None; sys.modules['billiard'] = None\n"
        "import events.integrations.celery"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'django-job-events[celery]'" in done.stderr
