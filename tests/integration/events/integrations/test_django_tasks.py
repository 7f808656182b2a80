"""Jobs that follow the signals of `django.tasks` or its backport."""

import subprocess
import sys
from datetime import timedelta
from types import ModuleType

import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import transaction
from django.utils import timezone

from events.exceptions import DeliveryRejected
from events.execution import run
from events.execution.run import current_run
from events.execution.stream_tracker import StreamRunTracker
from events.execution.tracker import registry
from events.history import read_events
from events.integrations.django_tasks.apps import task_signals
from jobs import services
from jobs.checks import check_settings
from jobs.exceptions import InvalidJob
from jobs.models import Job
from tests.support import queue_tasks as tasks
from tests.support.followed import followed_tasks
from tests.support.site import ROOT
from tests.support.spans import ended_spans

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

START = ["job_created", "task_enqueued", "task_started"]


@pytest.fixture(autouse=True)
def config(settings):
    backends = {"default": "immediate.ImmediateBackend", "dummy": "dummy.DummyBackend"}
    settings.TASKS = {
        name: {"BACKEND": f"{tasks.FRAMEWORK}.backends.{path}"} for name, path in backends.items()
    }
    with followed_tasks() as config:
        yield config
    assert current_run() is None


@pytest.fixture
def job():
    return services.job_create(job_id="abc", task_type="manual")


def log(job_id="abc"):
    return [event.event_type for event in read_events(job_id)]


def last(job_id="abc"):
    return read_events(job_id)[-1].data


def test_completed_task(job):
    result = tasks.steps.enqueue("abc", count=2)
    job.refresh_from_db()
    assert (job.status, job.result) == ("completed", {"steps": 2, "attempt": 1})
    assert log() == [*START, *["task_progress"] * 2, "worked", "task_completed"]
    enqueued = read_events("abc")[1].data
    assert enqueued["external_id"] == result.id
    assert (enqueued["queue"], enqueued["task_type"]) == ("django_tasks", "steps")


def test_each_task_is_a_span(job):
    tasks.steps.enqueue("abc")
    events = [event.data for event in read_events("abc")]
    assert [end[1:] for end in ended_spans(events)] == [("task_completed", "done")]
    assert 0 <= events[2]["data"]["queue_seconds"] < 30


def test_failed_task(job):
    result = tasks.fails.enqueue(job_id="abc")
    assert result.status == "FAILED"
    job.refresh_from_db()
    assert (job.status, job.error) == ("failed", "out of paper")
    assert log() == [*START, "task_failed"]
    assert last()["error_type"] == "ValueError"


def test_failure_reported_outside_of_exception_handler(job, config):
    """Only the text of the error is left."""
    result = tasks.steps.using(backend="dummy").enqueue("abc")
    config.started(result)
    result.errors.append(task_error())
    config.finished(result)
    job.refresh_from_db()
    assert (job.status, job.error) == ("failed", "ValueError: too late")


def task_error():
    base = sys.modules[f"{tasks.FRAMEWORK}.base"]
    text = "Traceback (most recent call last):\n  ...\nValueError: too late\n"
    return base.TaskError(exception_class_path="builtins.ValueError", traceback=text)


def test_terminated_worker(job):
    tasks.leaves.enqueue("abc")
    assert (last()["event_type"], last()["reason"]) == ("task_failed", "terminated")


def test_cancelled_error_is_a_failure(job):
    tasks.raises_cancelled.enqueue("abc")
    assert (last()["event_type"], last()["error"]) == ("task_failed", "CancelledError")


def test_delayed_task_extends_the_deadline(job):
    now = timezone.now()
    Job.objects.update(deadline_at=now + timedelta(days=1), deadline_status="failed")
    later = tasks.steps.using(backend="dummy", run_after=now + timedelta(days=2))
    later.enqueue("abc")
    job.refresh_from_db()
    assert timedelta(days=2.9) < job.deadline_at - now <= timedelta(days=3.1)


def test_queued_task(job):
    tasks.steps.using(backend="dummy").enqueue("abc")
    job.refresh_from_db()
    assert job.status == "pending"
    assert log() == ["job_created", "task_enqueued"]


def test_worker_starts_before_enqueued_signal(job, config):
    """The enqueuing process sends the signal after the worker may have the task."""
    result = tasks.steps.using(backend="dummy").enqueue("abc")
    config.started(result)
    config.enqueued(result)
    result.errors.append(task_error())
    config.finished(result)
    assert log() == [*START, "task_failed"]


def test_rolled_back_enqueue_publishes_nothing(job):
    with transaction.atomic():
        tasks.steps.using(backend="dummy").enqueue("abc")
        transaction.set_rollback(True)
    assert log() == ["job_created"]


def test_terminal_job_rejects_task(job):
    services.job_cancel(job_id="abc")
    with pytest.raises(DeliveryRejected, match="cancelled"):
        tasks.steps.enqueue("abc")
    assert log() == ["job_created", "job_cancelled"]


@pytest.mark.parametrize("job_id", ["unknown", "not a job_id!", 7, None])
def test_task_without_job_is_ignored(job_id):
    assert tasks.fails.enqueue(job_id).status == "FAILED"
    if job_id == "unknown":
        assert log(job_id) == []


def test_invalid_arguments(job):
    assert tasks.fails.enqueue("abc", "one", "more").status == "FAILED"
    assert log() == ["job_created"]


def test_job_argument_and_task_type(job):
    assert tasks.report.enqueue(report_id="abc").return_value == "reporting"
    assert last()["task_type"] == "reporting"


def test_unfollowed_task(job):
    assert tasks.unfollowed.enqueue("abc").return_value is True
    assert log() == ["job_created"]


def test_task_with_context(job):
    assert tasks.uses_context.enqueue("abc", words="yes:").return_value == "yes: True"
    job.refresh_from_db()
    assert job.result == "yes: True"


def test_task_that_does_not_end_its_job(job):
    tasks.first.enqueue("abc")
    job.refresh_from_db()
    assert (job.status, last()["event_type"]) == ("running", "task_completed")
    tasks.steps.enqueue("abc")
    job.refresh_from_db()
    assert job.status == "completed"


def test_job_waits_for_task_enqueued_by_its_task(job):
    tasks.enqueues_another.enqueue("abc")
    job.refresh_from_db()
    assert job.status == "running"


def test_nested_task(job):
    assert tasks.nests.enqueue("abc").return_value == "outer of nests"
    job.refresh_from_db()
    assert (job.status, job.result) == ("completed", "outer of nests")


def test_unsupported_request_for_input_fails_job(job):
    with pytest.raises(NotImplementedError):
        tasks.requests_input.enqueue("abc")
    job.refresh_from_db()
    assert (job.status, "cannot wait for input" in job.error) == ("failed", True)


async def test_coroutine_in_immediate_backend(monkeypatch):
    """`should_cancel` works without heartbeats and without a query."""
    monkeypatch.setattr(run, "HEARTBEAT_SECONDS", 0.0)
    await sync_to_async(services.job_create)(job_id="abc", task_type="manual")
    assert (await tasks.checks_cancelled.aenqueue("abc")).return_value is False
    assert await sync_to_async(log)() == [*START, "task_completed"]


def test_task_as_runner(settings):
    path = "tests.support.queue_tasks.uses_context"
    for runner in (path, tasks.uses_context):
        settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": {"prefix": runner}}
        assert check_settings(None) == []
        job = services.job_create(task_type="prefix", payload={"words": "well:"})
        job.refresh_from_db()
        assert job.result == "well: True"
        with pytest.raises(InvalidJob, match="payload"):
            services.job_create(task_type="prefix", payload={"context": 1})


def test_stream_run_tracker(monkeypatch):
    monkeypatch.setattr(registry, "tracker", StreamRunTracker())
    tasks.steps.enqueue("abc", count=1)
    monkeypatch.undo()
    assert log() == [*START[1:], "task_progress", "worked", "task_completed"]


@pytest.mark.parametrize("used", [True, False])
def test_signals_of_django_and_backport(monkeypatch, used):
    names = ["django.tasks.signals", "django_tasks.signals"]
    for name in names:
        for module in (name.rpartition(".")[0], name):
            monkeypatch.setitem(sys.modules, module, ModuleType(module))
    monkeypatch.setattr(apps, "is_installed", lambda _app: used)
    found = [module.__name__ for module in task_signals()]
    monkeypatch.undo()
    assert found == (names if used else names[:1])


def test_error_names_missing_extra():
    script = (
        "import sys\n"
        "for name in ('django.tasks', 'django_tasks'): sys.modules[name] = None\n"
        "from django.conf import settings\n"
        "settings.configure(INSTALLED_APPS=['events', 'events.integrations.django_tasks'])\n"
        "import django; django.setup()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "pip install 'django-job-events[django-tasks]'" in ran.stderr
