"""Django's tasks, or their backport, tell of themselves by signals: what becomes of their jobs."""

import subprocess
import sys
from types import ModuleType

import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import transaction

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
from tests.support import queue_tasks as tasks
from tests.support.followed import followed_tasks
from tests.support.site import ROOT

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

LIFE = ["job_created", "task_enqueued", "task_started"]


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


def test_a_task_that_works(job):
    result = tasks.steps.enqueue("abc", count=2)
    job.refresh_from_db()
    assert (job.status, job.result) == ("completed", {"steps": 2, "attempt": 1})
    assert log() == [*LIFE, *["task_progress"] * 2, "worked", "task_completed"]
    enqueued = read_events("abc")[1].data
    assert enqueued["external_id"] == result.id
    assert (enqueued["queue"], enqueued["task_type"]) == ("django_tasks", "steps")


def test_a_task_that_fails(job):
    result = tasks.fails.enqueue(job_id="abc")
    assert result.status == "FAILED"
    job.refresh_from_db()
    assert (job.status, job.error) == ("failed", "what a pity")
    assert log() == [*LIFE, "task_failed"]
    assert last()["error_type"] == "ValueError"


def test_a_task_that_is_told_to_have_failed_afterwards(job, config):
    """A backend may tell when it does not handle the error any more: its words are left."""
    result = tasks.steps.using(backend="dummy").enqueue("abc")
    config.started(result)
    result.errors.append(failure())
    config.finished(result)
    job.refresh_from_db()
    assert (job.status, job.error) == ("failed", "ValueError: too late")


def failure():
    base = sys.modules[f"{tasks.FRAMEWORK}.base"]
    text = "Traceback (most recent call last):\n  ...\nValueError: too late\n"
    return base.TaskError(exception_class_path="builtins.ValueError", traceback=text)


def test_a_worker_that_is_told_to_end(job):
    tasks.leaves.enqueue("abc")
    assert (last()["event_type"], last()["reason"]) == ("task_failed", "terminated")


def test_what_waits_in_a_queue(job):
    tasks.steps.using(backend="dummy").enqueue("abc")
    job.refresh_from_db()
    assert job.status == "pending"
    assert log() == ["job_created", "task_enqueued"]


def test_a_worker_that_is_faster_than_what_is_told_of_the_queue(job, config):
    """The announcement may come after a worker has started the task."""
    result = tasks.steps.using(backend="dummy").enqueue("abc")
    config.started(result)
    config.enqueued(result)
    result.errors.append(failure())
    config.finished(result)
    assert log() == [*LIFE, "task_failed"]


def test_a_rolled_back_request_has_enqueued_nothing(job):
    with transaction.atomic():
        tasks.steps.using(backend="dummy").enqueue("abc")
        transaction.set_rollback(True)
    assert log() == ["job_created"]


def test_a_job_that_is_over_is_not_begun_again(job):
    services.job_cancel(job_id="abc")
    with pytest.raises(DeliveryRejected, match="cancelled"):
        tasks.steps.enqueue("abc")
    assert log() == ["job_created", "job_cancelled"]


@pytest.mark.parametrize("job_id", ["nothing", "no job's id!", 7, None])
def test_a_task_that_names_no_job_is_left_alone(job_id):
    assert tasks.fails.enqueue(job_id).status == "FAILED"
    if job_id == "nothing":
        assert log(job_id) == []


def test_a_task_whose_arguments_do_not_fit(job):
    assert tasks.fails.enqueue("abc", "one", "more").status == "FAILED"
    assert log() == ["job_created"]


def test_a_task_may_name_its_job_otherwise(job):
    assert tasks.report.enqueue(report_id="abc").return_value == "reporting"
    assert last()["task_type"] == "reporting"


def test_a_task_may_follow_no_job(job):
    assert tasks.unfollowed.enqueue("abc").return_value is True
    assert log() == ["job_created"]


def test_a_task_that_takes_its_context(job):
    assert tasks.knows_its_context.enqueue("abc", words="yes:").return_value == "yes: True"
    job.refresh_from_db()
    assert job.result == "yes: True"


def test_a_task_that_does_not_end_its_job(job):
    tasks.first.enqueue("abc")
    job.refresh_from_db()
    assert (job.status, last()["event_type"]) == ("running", "task_completed")
    tasks.steps.enqueue("abc")
    job.refresh_from_db()
    assert job.status == "completed"


def test_a_task_that_enqueues_another_of_its_job(job):
    """The job is not over before that is."""
    tasks.sends_another.enqueue("abc")
    job.refresh_from_db()
    assert job.status == "running"


def test_a_task_within_a_task(job):
    assert tasks.nests.enqueue("abc").return_value == "outer of nests"
    job.refresh_from_db()
    assert (job.status, job.result) == ("completed", "outer of nests")


def test_a_task_cannot_ask_a_person(job):
    """It is said, and the job does not wait for ever."""
    with pytest.raises(NotImplementedError):
        tasks.asks.enqueue("abc")
    job.refresh_from_db()
    assert (job.status, "cannot wait for input" in job.error) == ("failed", True)


async def test_a_coroutine_in_its_callers_thread(monkeypatch):
    """It may call should_cancel, though it cannot be interrupted there."""
    monkeypatch.setattr(run, "HEARTBEAT_SECONDS", 0.0)
    await sync_to_async(services.job_create)(job_id="abc", task_type="manual")
    assert (await tasks.looks.aenqueue("abc")).return_value is False
    assert await sync_to_async(log)() == [*LIFE, "task_completed"]


def test_a_task_is_a_runner(settings):
    path = "tests.support.queue_tasks.knows_its_context"
    for runner in (path, tasks.knows_its_context):
        settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": {"says": runner}}
        assert check_settings(None) == []
        job = services.job_create(task_type="says", payload={"words": "well:"})
        job.refresh_from_db()
        assert job.result == "well: True"
        with pytest.raises(InvalidJob, match="payload"):
            services.job_create(task_type="says", payload={"context": 1})


def test_without_the_app_of_the_jobs(monkeypatch):
    """The log says it all the same."""
    monkeypatch.setattr(registry, "tracker", StreamRunTracker())
    tasks.steps.enqueue("abc", count=1)
    monkeypatch.undo()
    assert log() == [*LIFE[1:], "task_progress", "worked", "task_completed"]


@pytest.mark.parametrize("used", [True, False])
def test_the_backport_is_heard_beside_djangos_own(monkeypatch, used):
    names = ["django.tasks.signals", "django_tasks.signals"]
    for name in names:
        for module in (name.rpartition(".")[0], name):
            monkeypatch.setitem(sys.modules, module, ModuleType(module))
    monkeypatch.setattr(apps, "is_installed", lambda _app: used)
    heard = [module.__name__ for module in task_signals()]
    monkeypatch.undo()
    assert heard == (names if used else names[:1])


def test_a_missing_extra_says_which_to_install():
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
