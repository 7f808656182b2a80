"""Models: defaults, constraints and indexes."""

import math
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from jobs.models import Job

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NOW = timezone.now()
EARLIER = NOW - timedelta(seconds=1)


def test_defaults_of_a_new_job():
    job = Job.objects.get(pk=Job.objects.create().pk)
    assert (job.status, job.attempt, job.progress) == ("pending", 1, 0.0)
    assert (job.payload, job.result, job.error, job.title) == ({}, None, "", "")
    assert (job.owner, job.started_at, job.finished_at) == (None, None, None)
    assert job.task_type == "unknown"
    assert abs(timezone.now() - job.created_at) < timedelta(minutes=1)


def test_generated_job_id_is_random_and_valid():
    job_ids = {Job().job_id for _ in range(100)}
    assert len(job_ids) == 100
    assert all(len(job_id) == 32 for job_id in job_ids)
    Job(job_id=job_ids.pop()).clean_fields()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        # Two constraints fail; which one the error names depends on the database.
        (
            "job_events_jobs_valid_status|job_events_jobs_finished_at_if_terminal",
            {"status": "lost"},
        ),
        (
            "job_events_jobs_valid_status|job_events_jobs_finished_at_if_terminal",
            {"status": "", "finished_at": NOW},
        ),
        ("job_events_jobs_progress_0_to_100", {"progress": -0.1}),
        ("job_events_jobs_progress_0_to_100", {"progress": 100.1}),
        ("job_events_jobs_finished_at_if_terminal", {"status": "completed"}),
        ("job_events_jobs_finished_at_if_terminal", {"status": "failed"}),
        ("job_events_jobs_finished_at_if_terminal", {"status": "cancelled"}),
        ("job_events_jobs_finished_at_if_terminal", {"status": "running", "finished_at": NOW}),
        ("job_events_jobs_finished_at_if_terminal", {"status": "pending", "finished_at": NOW}),
        (
            "job_events_jobs_finished_after_started",
            {"status": "failed", "started_at": NOW, "finished_at": EARLIER},
        ),
    ],
)
def test_database_rejects_invalid_rows(name, values):
    job = Job.objects.create()
    with pytest.raises(IntegrityError, match=name), transaction.atomic():
        Job.objects.filter(pk=job.pk).update(**values)
    job.refresh_from_db()
    assert (job.status, job.progress, job.finished_at) == ("pending", 0.0, None)


@pytest.mark.parametrize(
    "values",
    [
        {"status": "completed", "finished_at": NOW},
        {"status": "completed", "started_at": NOW, "finished_at": NOW},
        {"status": "running", "started_at": NOW},
        {"progress": 0},
        {"progress": 100},
    ],
)
def test_database_accepts_valid_rows(values):
    job = Job.objects.create()
    assert Job.objects.filter(pk=job.pk).update(**values) == 1


@pytest.mark.parametrize("field", ["status", "progress", "attempt", "payload", "error", "title"])
def test_database_rejects_null(field):
    job = Job.objects.create()
    with pytest.raises(IntegrityError), transaction.atomic():
        Job.objects.filter(pk=job.pk).update(**{field: None})


def test_database_rejects_nan_as_progress():
    job = Job.objects.create()
    with pytest.raises(IntegrityError), transaction.atomic():
        Job.objects.filter(pk=job.pk).update(progress=math.nan)


def test_job_ids_are_unique():
    Job.objects.create(job_id="abc")
    with pytest.raises(IntegrityError), transaction.atomic():
        Job.objects.create(job_id="abc")


def test_job_ids_are_case_sensitive():
    Job.objects.create(job_id="abc")
    Job.objects.create(job_id="ABC")
    assert Job.objects.get(job_id="abc") != Job.objects.get(job_id="ABC")


def test_attempts_are_not_negative():
    job = Job.objects.create()
    with pytest.raises(IntegrityError), transaction.atomic():
        Job.objects.filter(pk=job.pk).update(attempt=-1)


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("job_events_jobs_by_time", ["created_at", "id"]),
        ("job_events_jobs_by_owner", ["owner_id", "created_at", "id"]),
        ("job_events_jobs_by_status", ["status", "created_at", "id"]),
        ("job_events_jobs_by_task_type", ["task_type", "created_at", "id"]),
    ],
)
def test_common_lists_have_an_index(name, columns):
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, Job._meta.db_table)
    assert found[name]["index"]
    assert found[name]["columns"] == columns
    assert found[name]["orders"][-2:] == ["DESC", "DESC"]


def test_jobs_are_ordered_newest_first():
    jobs = [Job.objects.create() for _ in range(3)]
    Job.objects.update(created_at=NOW)
    assert list(Job.objects.all()) == jobs[::-1]


def test_jobs_of_a_user_are_deleted_with_the_user(user):
    Job.objects.create(owner=user)
    user.delete()
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("job_id", "a b"),
        ("job_id", "a\n"),
        ("job_id", "x" * 65),
        ("task_type", ""),
        ("task_type", "a b"),
        ("task_type", "a\n"),
        ("task_type", "x" * 101),
        ("title", "a\x00"),
        ("title", "\ud800"),
        ("title", "x" * 201),
    ],
)
def test_field_validation(field, value):
    with pytest.raises(ValidationError) as caught:
        Job(**{field: value}).clean_fields()
    assert list(caught.value.message_dict) == [field]


@pytest.mark.parametrize("task_type", ["outline_generation", "a.b:c-d", "größe", "x" * 100])
def test_task_type(task_type):
    Job(task_type=task_type).clean_fields()


def test_str_is_the_title_or_the_job_id():
    assert str(Job(title="Report")) == "Report"
    assert str(Job(job_id="abc")) == "abc"


def test_three_statuses_are_terminal():
    over = {status for status in Job.Status if Job(status=status).is_terminal}
    assert over == {"completed", "failed", "cancelled"}
