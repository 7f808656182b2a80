"""The writing tasks in eager mode. tests/integration/site runs them in a Celery worker."""

import pytest

from config.celery import app
from events.exceptions import DeliveryRejected
from events.execution import run as run_module
from events.execution.run import Delivery, TaskRun
from events.execution.tracker import run_tracker
from events.history import read_events
from events.integrations.celery import ATTEMPT_HEADER
from jobs import services
from jobs.models import Job
from jobs.tasks import generate_document_from_outline_task, generate_outline_from_query_task
from tests.integration.jobs.conftest import archived

pytestmark = pytest.mark.django_db(transaction=True)

OUTLINE = {"title": "Tea", "sections": [{"id": "1", "heading": "Leaves", "summary": "Green."}]}


@pytest.fixture(autouse=True)
def in_this_process(settings):
    """Run tasks eagerly; without runners, a created job stays pending."""
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": {}, "CHAT_MODEL": ""}
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False


@pytest.fixture
def job():
    payload = {"task_prompt": "Tea: leaves, water and time"}
    return services.job_create(task_type="outline_generation", payload=payload)


def kinds(job):
    return [event.event_type for event in read_events(job.job_id)]


def test_outline_is_followed_by_the_document(job):
    generate_outline_from_query_task(job.job_id, "Tea: leaves, water and time")
    job.refresh_from_db()
    assert (job.status, job.progress) == ("completed", 100)
    assert job.result["markdown"].startswith("# ")
    assert kinds(job)[-1] == "task_completed"
    last = read_events(job.job_id)[-1]
    assert last.data["task_type"] == "document_generation"
    assert last.data["job_status"] == "completed"
    steps = [e.data for e in read_events(job.job_id) if e.event_type == "task_completed"]
    assert (steps[0]["job_status"], steps[0]["attempt"]) == ("running", 1)


def test_both_tasks_take_their_arguments_by_name(job):
    generate_outline_from_query_task(
        job_id=job.job_id,
        task_prompt="Explain it",
        context_files=[{"name": "a.txt", "text": "Tea is made of leaves. Water is hot."}],
    )
    other = services.job_create(task_type="document_generation", payload={"outline": OUTLINE})
    generate_document_from_outline_task(job_id=other.job_id, outline=OUTLINE)
    assert set(Job.objects.values_list("status", flat=True)) == {"completed"}


@pytest.mark.parametrize(
    "files",
    [
        5,
        "text",
        [5],
        [{}],
        [{"name": "a"}],
        [{"name": "a", "text": 5}],
        [{"name": None, "text": ""}],
    ],
)
def test_invalid_context_files_fail_the_job_with_a_message(job, files):
    with pytest.raises(ValueError, match="context_files"):
        generate_outline_from_query_task(job.job_id, "x", files)
    job.refresh_from_db()
    assert job.status == "failed"
    assert job.error.startswith("context_files is a list")
    assert kinds(job)[-1] == "task_failed"


def test_unknown_chat_model_fails_the_job_with_a_message(job, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "CHAT_MODEL": "nosuch:model"}
    with pytest.raises(Exception, match="nosuch"):
        generate_outline_from_query_task(job.job_id, "x")
    job.refresh_from_db()
    assert job.status == "failed"
    assert "nosuch" in job.error


def test_tasks_of_a_cancelled_job_do_not_run(job):
    services.job_cancel(job_id=job.job_id)
    generate_outline_from_query_task(job.job_id, "x")
    generate_document_from_outline_task(job.job_id, OUTLINE)
    job.refresh_from_db()
    assert job.status == "cancelled"
    assert kinds(job) == ["job_created", "job_cancelled"]


def test_cancelling_a_running_job_stops_its_graph(job, monkeypatch):
    """The job is cancelled when the graph reports progress for the first time."""
    report = TaskRun.progress

    def cancel_first(run, *args, **kwargs):
        if not Job.objects.filter(job_id=job.job_id, status="cancelled").exists():
            services.job_cancel(job_id=job.job_id)
        return report(run, *args, **kwargs)

    monkeypatch.setattr(run_module, "HEARTBEAT_SECONDS", 0)
    monkeypatch.setattr(TaskRun, "progress", cancel_first)
    generate_outline_from_query_task(job.job_id, "x")
    job.refresh_from_db()
    assert job.status == "cancelled"
    assert kinds(job).count("task_progress") == 1
    assert not {"error", "task_failed", "outline_generated"} & set(kinds(job))


def test_unknown_job_id_raises():
    with pytest.raises(Exception, match="nosuch is not available"):
        generate_outline_from_query_task("nosuch", "x")


def test_document_task_of_an_earlier_attempt_does_not_run(job):
    """The message of attempt 1 is delivered while attempt 2 is pending, and while it runs."""
    services.job_start(job_id=job.job_id)
    services.job_cancel(job_id=job.job_id)
    services.job_retry(job_id=job.job_id)
    late = {"args": (job.job_id, OUTLINE), "headers": {ATTEMPT_HEADER: 1}}
    generate_document_from_outline_task.apply(**late)
    services.job_start(job_id=job.job_id)
    generate_document_from_outline_task.apply(**late)
    job.refresh_from_db()
    assert (job.status, job.attempt) == ("running", 2)
    assert "document_generated" not in kinds(job)


def test_job_stays_running_between_the_tasks(job, monkeypatch):
    """The archiver projects the log when its last event is the end of the outline task."""
    rows = []

    sent = generate_document_from_outline_task.apply_async

    def archive_first(*args, **kwargs):
        archived()
        rows.append(Job.objects.values("status", "progress", "result").get())
        return sent(*args, **kwargs)

    monkeypatch.setattr(generate_document_from_outline_task, "apply_async", archive_first)
    generate_outline_from_query_task(job.job_id, "Tea: leaves, water and time")
    assert rows == [{"status": "running", "progress": 40, "result": None}]
    job.refresh_from_db()
    columns = ("status", "attempt", "progress", "result", "error", "started_at", "finished_at")
    before = Job.objects.values(*columns).get()
    archived()
    assert (job.status, Job.objects.values(*columns).get()) == ("completed", before)


def test_duplicate_message_does_not_run_the_task_again(job, monkeypatch):
    """The second message is delivered while the first one is processed."""
    report = TaskRun.progress

    def send_again(run, *args, **kwargs):
        monkeypatch.setattr(TaskRun, "progress", report)
        message = Delivery("celery", "another", job.job_id, "outline_generation")
        with pytest.raises(DeliveryRejected, match="Another message"):
            run_tracker().claim(message)
        return report(run, *args, **kwargs)

    monkeypatch.setattr(TaskRun, "progress", send_again)
    generate_outline_from_query_task(job.job_id, "Tea: leaves, water and time")
    assert kinds(job).count("task_started") == 2
    assert kinds(job).count("outline_generated") == 1


def test_document_event_contains_each_text_once(job):
    generate_outline_from_query_task(job.job_id, "Tea: leaves, water and time")
    (document,) = [e.data for e in read_events(job.job_id) if e.event_type == "document_generated"]
    assert set(document["document"]) == {"title", "sections"}
