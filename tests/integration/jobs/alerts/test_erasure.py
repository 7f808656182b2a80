"""Deletion of a job removes it from alerts, matches and messages."""

from threading import Barrier, Thread
from threading import Event as Flag

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from jobs import services
from jobs.alerts import conditions, erasure, evaluator, grouping
from jobs.alerts import states as states_module
from jobs.alerts.conditions import Occurrence
from jobs.models import Alert, AlertMatch, AlertMessage, Job
from tests.integration.jobs.alerts.support import messages
from tests.integration.jobs.conftest import locked_elsewhere

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture
def job_rule(stage, monkeypatch):
    """A rule whose condition holds for all jobs."""

    def every_job(_rule, _observation):
        for job_id in Job.objects.order_by("pk").values_list("job_id", flat=True):
            yield Occurrence(job_id, f"Job {job_id}.")

    kinds = {**conditions._CONDITIONS, "stuck_job": every_job}
    monkeypatch.setattr(conditions, "_CONDITIONS", kinds)
    stage.configure(ALERT_RULES={"jobs": {"kind": "stuck_job"}})


def test_deletion(stage, job_rule, make_job):
    deleted, kept = make_job(), make_job()
    stage.configure(ALERT_GROUP_WAIT=0, ALERT_GROUP_INTERVAL=0)
    stage.evaluate()
    row = {"rule": "x", "event_id": "1-1", "summary": "", "at": timezone.now()}
    AlertMatch.objects.create(job_id=deleted.job_id, **row)
    AlertMatch.objects.create(job_id=kept.job_id, **row)
    services.job_delete(job_id=deleted.job_id)
    assert [alert.subject for alert in Alert.objects.all()] == [kept.job_id]
    assert [match.job_id for match in AlertMatch.objects.all()] == [kept.job_id]
    body = AlertMessage.objects.get().body
    assert [each["subject"] for each in body["alerts"]] == [kept.job_id]
    assert deleted.job_id not in str(body)
    assert body["count"] == 2
    stage.evaluate(after=5)
    assert messages() == [("jobs", "firing", 2)]


def test_deletion_of_a_resolved_subject(stage, job_rule, make_job):
    job = make_job()
    stage.configure(ALERT_GROUP_WAIT=0, ALERT_GROUP_INTERVAL=0)
    stage.evaluate()
    stage.rule("jobs")
    stage.evaluate(after=5)
    assert messages() == [("jobs", "firing", 1), ("jobs", "resolved", 1)]
    services.job_delete(job_id=job.job_id)
    assert not Alert.objects.exists()
    assert all(job.job_id not in str(each.body) for each in AlertMessage.objects.all())


def test_jobs_of_a_message_are_deleted_at_once(stage, job_rule, make_job):
    """Each transaction removes its own job from the message."""
    stage.configure(ALERT_GROUP_WAIT=0)
    jobs = [make_job() for _ in range(4)]
    stage.evaluate()
    barrier = Barrier(len(jobs))

    def delete(job):
        barrier.wait(20)
        services.job_delete(job_id=job.job_id)
        connections.close_all()

    threads = [Thread(target=delete, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert AlertMessage.objects.get().body["alerts"] == []
    assert not Alert.objects.exists()


def test_process_is_killed_after_the_deletion(stage, job_rule, make_job, monkeypatch):
    """Before the rest of the erasure; the evaluator finishes it."""
    stage.configure(ALERT_GROUP_WAIT=0, ALERT_GROUP_INTERVAL=0)
    deleted, kept = make_job(), make_job()
    stage.evaluate()
    monkeypatch.setattr(erasure, "_erase_after_commit", lambda _job_id: None)
    services.job_delete(job_id=deleted.job_id)
    assert not Alert.objects.exclude(summary="").filter(subject=deleted.job_id).exists()
    stage.evaluate(after=5)
    assert [alert.subject for alert in Alert.objects.all()] == [kept.job_id]
    assert messages() == [("jobs", "firing", 2)]
    assert deleted.job_id not in str(AlertMessage.objects.get().body)


@pytest.mark.parametrize("during", [states_module, grouping])
def test_job_is_deleted_within_the_transaction_of_an_evaluation(
    stage, job_rule, make_job, monkeypatch, during
):
    """Its alert was read, but is not locked yet; the erasure is not finished."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one lock for all writers")
    stage.configure(ALERT_RULES={"jobs": {"kind": "stuck_job", "for": 60}})
    job, kept = make_job(), make_job()
    stage.evaluate()
    if during is grouping:
        stage.evaluate(after=60)  # now the alert fires, and its message is due next
    monkeypatch.setattr(erasure, "_erase_after_commit", lambda _job_id: None)
    locked = during.locked

    def delete():
        services.job_delete(job_id=job.job_id)
        connections.close_all()

    def delete_and_lock(*arguments):
        monkeypatch.setattr(during, "locked", locked)
        thread = Thread(target=delete)
        thread.start()
        thread.join()
        return locked(*arguments)

    monkeypatch.setattr(during, "locked", delete_and_lock)
    monkeypatch.setattr(evaluator, "finish_erasure", lambda _condition: None)
    stage.evaluate(after=60)
    monkeypatch.setattr(evaluator, "finish_erasure", erasure.finish_erasure)
    stage.evaluate(after=60)
    assert messages() == [("jobs", "firing", 1)]
    assert [alert.subject for alert in Alert.objects.all()] == [kept.job_id]
    assert all(job.job_id not in str(each.body) for each in AlertMessage.objects.all())


def test_deletion_with_the_owner(stage, job_rule, make_job, user):
    make_job(owner=user)
    stage.evaluate()
    assert Alert.objects.count() == 1
    user.delete()
    assert not Alert.objects.exists()


def test_job_that_is_deleted_during_an_evaluation(stage, job_rule, make_job, monkeypatch):
    """Between the query of the condition and the transaction."""
    job = make_job()
    find = conditions._CONDITIONS["stuck_job"]

    def find_and_delete(*arguments):
        yield from list(find(*arguments))
        services.job_delete(job_id=job.job_id)

    kinds = {**conditions._CONDITIONS, "stuck_job": find_and_delete}
    monkeypatch.setattr(conditions, "_CONDITIONS", kinds)
    stage.evaluate()
    assert not Alert.objects.exists()


@pytest.fixture
def deleting():
    """Starts a transaction that deletes a job, in another thread; `finish` commits it."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one lock for all writers")
    finish, threads = Flag(), []

    def start(job_id):
        started = Flag()

        def run():
            with transaction.atomic():
                services.job_delete(job_id=job_id)
                started.set()
                finish.wait(20)
            connections.close_all()

        threads.append(Thread(target=run))
        threads[0].start()
        assert started.wait(20)

    def end():
        finish.set()
        for thread in threads:
            thread.join()

    yield start, end
    end()


def test_job_that_is_being_deleted_has_no_new_alert(stage, job_rule, make_job, deleting):
    start, end = deleting
    deleted, kept = make_job(), make_job()
    start(deleted.job_id)
    stage.evaluate()
    end()
    assert [alert.subject for alert in Alert.objects.all()] == [kept.job_id]


def test_job_that_is_being_deleted_has_no_message(stage, job_rule, make_job, deleting):
    start, end = deleting
    deleted, kept = make_job(), make_job()
    stage.evaluate()
    start(deleted.job_id)
    stage.evaluate(after=30)
    end()
    assert messages() == [("jobs", "firing", 1)]
    assert deleted.job_id not in str(AlertMessage.objects.get().body)
    assert [alert.subject for alert in Alert.objects.all()] == [kept.job_id]


def test_locked_job_gets_its_alert_later(stage, job_rule, make_job):
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one lock for all writers")
    job = make_job()
    with locked_elsewhere(job.job_id):
        stage.evaluate()
        assert not Alert.objects.exists()
    stage.evaluate(after=5)
    assert Alert.objects.count() == 1
