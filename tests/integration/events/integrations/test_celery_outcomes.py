"""Outcomes of Celery tasks that end without a result, in eager mode and on message level."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from celery import chain, chord, group, shared_task, signals
from celery.exceptions import Ignore, Reject, Retry, WorkerShutdown
from kombu import Message

from config.celery import app
from events.history import read_events
from events.integrations.celery import ATTEMPT_HEADER, JobTask, follows_job
from events.integrations.celery.canvas import tasks_in, works_for
from events.integrations.celery.messages import JOB_HEADER
from jobs import inputs, services
from jobs.execution.reaper import Reaper
from jobs.models import Job, Task

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def eager():
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False


@pytest.fixture(autouse=True)
def job():
    """A job, in whose log every start of a task has one end."""
    yield services.job_create(job_id="abc", task_type="manual")
    started = [each for each in log() if each["event_type"] == "task_started"]
    ended = [each for each in log() if "status" in (each.get("data") or {})]
    runs = [each["data"]["run_id"] for each in ended]
    assert sorted(runs) == sorted(each["data"]["run_id"] for each in started)


def row():
    return Job.objects.get(job_id="abc")


def log():
    return [event.data for event in read_events("abc")]


ERRORS = {
    "ignore": Ignore(),
    "ignore with message": Ignore("done by another worker"),
    "reject": Reject("busy", requeue=False),
    "reject with requeue": Reject("busy", requeue=True),
    "reject with error": Reject(ValueError("no broker"), requeue=False),
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt(),
    "shutdown": WorkerShutdown("deployment"),
    "cancelled": asyncio.CancelledError(),
}


@shared_task(base=JobTask, bind=True, name="outcomes.work")
def work(self, job_id, error=""):
    if error:
        raise ERRORS[error]
    return "worked"


@shared_task(name="outcomes.decorated")
@follows_job
def decorated(job_id, error=""):
    raise ERRORS[error]


@shared_task(base=JobTask, bind=True, name="outcomes.late", acks_late=True)
def late(self, job_id, error=""):
    raise ERRORS[error]


@shared_task(base=JobTask, bind=True, name="outcomes.coroutine")
async def coroutine(self, job_id, error=""):
    raise ERRORS[error]


@shared_task(name="outcomes.plain")
def plain(*args):
    return "plain"


class Prepared(JobTask):
    """A base class of a project with its own hook."""

    def before_start(self, task_id, args, kwargs):
        raise ERRORS.get(kwargs["error"]) or ValueError(kwargs["error"])


class Locked(JobTask):
    """A base class of a project that runs a task only if it holds a lock."""

    def __call__(self, *args, **kwargs):
        return "locked"


@shared_task(base=Prepared, name="outcomes.prepared")
def prepared(job_id, error):
    return "worked"


@shared_task(base=Locked, name="outcomes.locked")
def locked(job_id):
    return "worked"


@pytest.mark.parametrize(
    ("error", "status", "reason", "text"),
    [
        ("ignore", "cancelled", "ignored", None),
        ("ignore with message", "cancelled", "ignored", "done by another worker"),
        ("reject", "failed", "rejected", "busy"),
        ("reject with requeue", "failed", "rejected", "busy"),
        ("reject with error", "failed", "rejected", "no broker"),
        ("exit", "failed", "terminated", "The task raised SystemExit(3)."),
        ("interrupt", "failed", "terminated", "The task raised KeyboardInterrupt()."),
        ("shutdown", "failed", "terminated", "The task raised WorkerShutdown('deployment')."),
        ("cancelled", "failed", None, "CancelledError"),
    ],
)
@pytest.mark.parametrize("task", [work, decorated, late])
def test_task_that_ends_without_a_result(task, error, status, reason, text):
    with suppress(BaseException):
        task.apply(("abc",), {"error": error})
    assert row().status == status
    end = log()[-1]
    assert end["job_status"] == status
    assert end.get("reason") == reason
    assert end.get("error" if status == "failed" else "message") == text
    assert Task.objects.get().state in ("finished", "lost")


@pytest.mark.parametrize("error", ["ignore", "reject", "cancelled"])
def test_coroutine_that_ends_without_a_result(error):
    with suppress(BaseException):
        coroutine.apply(("abc",), {"error": error})
    assert row().is_terminal


def test_direct_call_that_is_ignored():
    with pytest.raises(Ignore):
        work("abc", error="ignore")
    assert (row().status, log()[-1]["reason"]) == ("cancelled", "ignored")


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        ("no licence", "failed", None),
        ("ignore", "cancelled", "ignored"),
        ("reject", "failed", "rejected"),
    ],
)
def test_hook_raises_before_the_task_starts(error, status, reason):
    prepared.apply(("abc",), {"error": error})
    assert (row().status, log()[-1].get("reason")) == (status, reason)
    assert row().error == {"no licence": "no licence", "ignore": "", "reject": "busy"}[error]


@shared_task(base=JobTask, bind=True, name="outcomes.retried")
def retried(self, job_id):
    raise self.retry(exc=ValueError("no server"), countdown=0, max_retries=1)


@shared_task(name="outcomes.decorated_retried", autoretry_for=(ValueError,), default_retry_delay=0)
@follows_job
def decorated_retried(job_id):
    raise ValueError("no server")


@pytest.mark.parametrize("task", [retried, decorated_retried])
def test_retry_that_is_raised_to_the_caller(task):
    """Celery does not run the task again then."""
    app.conf.task_eager_propagates = True
    try:
        with pytest.raises(Retry):
            task.delay("abc")
    finally:
        app.conf.task_eager_propagates = False
    assert (row().status, row().error) == ("failed", "no server")


def test_hook_whose_error_is_raised_to_the_caller():
    with pytest.raises(ValueError, match="no licence"):
        prepared.apply(("abc",), {"error": "no licence"}, throw=True)
    assert (row().status, row().error) == ("failed", "no licence")


def test_base_class_does_not_call_the_function():
    assert locked.apply(("abc",)).get() == "locked"
    assert (row().status, row().result) == ("completed", "locked")


def test_arguments_do_not_fit():
    app.tasks["outcomes.work"].apply(("abc", "", "too many"))
    assert row().status == "failed"
    assert "positional argument" in row().error


@pytest.fixture
def queued():
    """Send messages instead of running the tasks."""
    app.conf.task_always_eager = False


@pytest.fixture
def waiting():
    """The job has a deadline for a worker to claim it."""
    Job.objects.update(deadline_at=datetime.now(UTC) + timedelta(days=1), deadline_status="failed")


@pytest.mark.parametrize("task", [work, decorated])
@pytest.mark.parametrize(
    "when",
    [
        {"countdown": 172800},
        {"eta": datetime.now(UTC) + timedelta(days=2)},
        {"eta": (datetime.now(UTC) + timedelta(days=2)).isoformat()},
    ],
)
def test_delayed_message_extends_the_deadline(queued, waiting, task, when):
    task.apply_async(("abc", "ignore"), **when)
    remaining = row().deadline_at - datetime.now(UTC)
    assert timedelta(days=2.9) < remaining <= timedelta(days=3)


def test_reaper_waits_for_a_delayed_message(queued, settings):
    """A runner delays its task for longer than QUEUE_TIMEOUT."""
    runners = {"later": lambda job_id: work.apply_async((job_id,), countdown=60)}
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "QUEUE_TIMEOUT": 0.1, "RUNNERS": runners}
    services.job_create(job_id="later", task_type="later")
    time.sleep(0.2)
    Reaper(single_pass=True).step()
    assert Job.objects.get(job_id="later").status == "pending"


def test_message_without_delay_keeps_the_deadline(queued, waiting):
    before = row().deadline_at
    work.apply_async(("abc",))
    assert row().deadline_at == before


def test_delayed_group_extends_the_deadline(queued, waiting):
    """The first task ends long before the second one is due."""
    members = [work.si("abc"), work.si("abc").set(countdown=172800)]
    group(members).apply_async()
    first = Task.objects.order_by("pk")[0]
    work.apply(("abc",), task_id=first.external_id)
    assert row().status == "running"
    assert row().deadline_at - datetime.now(UTC) > timedelta(days=2.9)


def test_resumed_task_does_not_expire():
    """The task began in time; a person may answer after its `expires`."""

    @shared_task(base=JobTask, bind=True, name="outcomes.requests_input", expires=60)
    def requests_input(self, job_id):
        self.request.expires = "2026-01-01T00:00:00+00:00"  # eager requests have no `expires`
        return self.ask("Who?")

    requests_input.apply(("abc",), task_id="k")
    assert Task.objects.get().resume["options"]["expires"] is None
    published = []

    def on_publish(headers, **_kwargs):
        published.append((headers["id"], headers["expires"]))

    app.conf.task_always_eager = False
    signals.before_task_publish.connect(on_publish)
    try:
        inputs.input_give(job_id="abc", name="input-1", value="Anna")
    finally:
        signals.before_task_publish.disconnect(on_publish)
    assert published == [("k", None)]


@pytest.mark.parametrize(
    ("exception", "text"),
    [
        (KeyError("outcomes.gone"), "does not know the task outcomes.gone"),
        (ValueError("eta"), "eta"),
    ],
)
def test_worker_rejects_the_message(exception, text):
    headers = {"id": "k", "task": "outcomes.gone", ATTEMPT_HEADER: 1, JOB_HEADER: "abc"}
    message = Message(headers=headers, body="")
    signal = signals.task_unknown if isinstance(exception, KeyError) else signals.task_rejected
    signal.send(sender=None, message=message, exc=exception)
    assert (row().status, log()[-1]["reason"]) == ("failed", "rejected")
    assert text in row().error


def test_rejected_message_of_an_earlier_attempt():
    services.job_cancel(job_id="abc")
    services.job_retry(job_id="abc")
    headers = {"id": "k", "task": "outcomes.gone", ATTEMPT_HEADER: 1, JOB_HEADER: "abc"}
    signals.task_unknown.send(
        sender=None, message=Message(headers=headers, body=""), exc=KeyError()
    )
    assert row().status == "pending"


@pytest.mark.parametrize(
    ("canvas", "expected"),
    [
        (lambda: work.si("abc"), [True]),
        (lambda: work.s("abc"), [True]),
        (lambda: work.s(error=""), [True]),
        (lambda: work.si("other"), [False]),
        (lambda: plain.s("abc"), [False]),
        (lambda: chain(plain.s(), work.si("abc")), [False, True]),
        (lambda: group(work.si("abc"), plain.s()), [False, True]),
        (lambda: chord([plain.s(), work.si("abc")], plain.s()), [False, False, True]),
        (lambda: plain.s().on_error(work.si("abc")), [False]),
        (lambda: plain.s().set(link=[work.si("abc")]), [False, True]),
        (lambda: app.signature("elsewhere.work", args=("abc",)), [True]),
    ],
)
def test_tasks_that_work_for_the_job(canvas, expected):
    """Of an unknown task only its worker can find out."""
    assert sorted(works_for(each, "abc") for each in tasks_in(dict(canvas()))) == expected
