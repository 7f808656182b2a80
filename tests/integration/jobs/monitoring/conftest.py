"""Fixtures: the clock of the database, and jobs with the times of an attempt."""

from datetime import UTC, datetime, timedelta

import pytest

from events.models import ArchivedEvent, EventLog
from events.types import Cursor
from jobs.models import Attempt, Job

NOW = datetime(2026, 11, 26, 12, 30, 30, tzinfo=UTC)


class Clock:
    """The clock of the database, as the modules of the monitor read it."""

    now = NOW

    def __call__(self):
        return self.now

    def advance(self, **duration):
        self.now += timedelta(**duration)


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    for module in ("statistics", "sampler"):
        monkeypatch.setattr(f"jobs.monitoring.{module}.database_now", found)
    return found


def ended_job(ended, *, status="completed", **fields):
    """Create a job that waited for 10 s, ran for 60 s, and published first after 2 s."""
    started, created = ended - timedelta(seconds=60), ended - timedelta(seconds=70)
    first = started + timedelta(seconds=2)
    times = {"started_at": started, "finished_at": ended, "first_event_at": first}
    row = Job.objects.create(**{"task_type": "report", "status": status, **times, **fields})
    Job.objects.filter(pk=row.pk).update(created_at=created)
    Attempt.objects.filter(job=row).update(created_at=created)
    return row


def event(job_id, at, *, number=0, event_type="thought", data="{}"):
    """Archive an event with an id of this time."""
    log, _ = EventLog.objects.get_or_create(job_id=job_id)
    cursor = Cursor(int(at.timestamp() * 1000), number)
    values = {"event_type": event_type, "timestamp": at.isoformat(), "data": data}
    return ArchivedEvent.objects.create(log=log, event_id=cursor, **values)
