"""Deletion of a job removes it from alerts, matches and messages."""

from threading import Event as Flag
from threading import Thread

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from jobs import services
from jobs.alerts import conditions
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
