"""`manage.py delete_job`."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from events.archive.archiver import Archiver
from events.erasure import Eraser
from events.exceptions import LogDeleted
from events.history import read_events
from events.models import ArchivedEvent, EventLog
from events.publisher import get_publisher
from jobs.management.commands import delete_job
from jobs.models import Job

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def run(*job_ids, confirm=False):
    out = StringIO()
    call_command("delete_job", *job_ids, no_input=not confirm, stdout=out)
    return out.getvalue().splitlines()


def is_erased(job_id):
    with pytest.raises(LogDeleted):
        read_events(job_id)
    log = EventLog.objects.get(job_id=job_id)
    return log.erased_at is not None and not log.events.exists()


def test_jobs_are_deleted(make_job):
    for job_id in ("one", "two", "kept"):
        make_job("running", job_id=job_id)
    assert len(run("one", "two")) == 2
    assert is_erased("one")
    assert is_erased("two")
    assert Job.objects.get().job_id == "kept"


def test_long_log_is_erased_to_its_end(make_job, monkeypatch):
    monkeypatch.setattr("events.erasure.MAX_BATCH_EVENTS", 10)
    make_job(job_id="abc")
    get_publisher().publish_events("abc", [{"n": n} for n in range(100)])
    Archiver().step()
    run("abc")
    assert is_erased("abc")
    assert not ArchivedEvent.objects.exists()


def test_log_without_a_job():
    get_publisher().publish_event("abc", {"n": 1})
    run("abc")
    assert is_erased("abc")


def test_repeated_deletion(make_job):
    make_job(job_id="abc")
    assert run("abc") == run("abc")
    assert is_erased("abc")


@pytest.mark.parametrize("job_id", ["unknown", "not a job_id"])
def test_unknown_job(job_id):
    with pytest.raises(CommandError):
        run(job_id)
    assert not EventLog.objects.exists()


@pytest.mark.parametrize(("answer", "is_deleted"), [("y", True), ("n", False), ("", False)])
def test_confirmation(make_job, monkeypatch, answer, is_deleted):
    make_job(job_id="abc")
    monkeypatch.setattr(delete_job, "input", lambda _question: answer, raising=False)
    if is_deleted:
        run("abc", confirm=True)
    else:
        with pytest.raises(CommandError, match="Nothing was deleted"):
            run("abc", confirm=True)
    assert Job.objects.exists() != is_deleted


def test_without_redis(make_job, redis_down):
    make_job(job_id="abc")
    with pytest.raises(CommandError, match="process_events"):
        run("abc")
    assert not Job.objects.exists()
    redis_down()
    assert Eraser().step() == 1
    assert is_erased("abc")
