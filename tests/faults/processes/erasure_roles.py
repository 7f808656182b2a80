"""Main functions of child processes that delete a job, write to it late, and erase its log."""

from collections.abc import Iterable
from time import monotonic
from typing import Any

import django.db
from django.db import connection

from events import erasure, outbox
from events.archive.archiver import Archiver
from events.erasure import Eraser
from events.exceptions import EventsError, LogDeleted
from events.history import read_events
from events.models import ArchiveCheckpoint, ArchivedEvent, EventLog
from events.outbox.relay import Relay
from events.publisher import get_publisher
from events.streams.clients import get_redis
from jobs import services
from jobs.exceptions import JobError
from jobs.models import Job
from tests.faults.processes.forks import Lines
from tests.faults.processes.points import stop_at
from tests.faults.processes.roles import JOB, use_test_settings

BATCH_EVENTS = 50


def _prepare(lines: Lines, stops: Iterable[str] = ()) -> None:
    use_test_settings()
    erasure.MAX_BATCH_EVENTS = BATCH_EVENTS
    for name in stops:
        stop_at(lines, name)


def create_job(lines: Lines) -> None:
    """Insert the row of the job, whose log exists already."""
    Job.objects.create(job_id=JOB, task_type="manual")
    lines.send(done=True)


def delete_job(lines: Lines, stops: Iterable[str] = ()) -> None:
    """Delete the job, and erase its log to the end, as `manage.py delete_job`."""
    _prepare(lines, stops)
    try:
        services.job_delete(job_id=JOB)
        erasure.erase_log(JOB)
    except (JobError, EventsError, django.db.Error) as error:
        lines.send(failed=type(error).__name__)
    else:
        lines.send(done=True)


def erase_with_processor(lines: Lines, stops: Iterable[str] = ()) -> None:
    """Run the steps of `process_events` until they are idle; send what is left of the log."""
    _prepare(lines, stops)
    deadline, idle = monotonic() + 30, 0
    steps = [Relay().step, Archiver().step, Eraser().step]
    while idle < 2:
        try:
            idle = 0 if sum(step() for step in steps) else idle + 1
        except (EventsError, django.db.Error) as error:
            lines.send(failed_step=f"{type(error).__name__}: {error}")
            connection.close()
            return
        if monotonic() > deadline:
            raise TimeoutError("the steps do not become idle")
    lines.send(left=_what_is_left())


def _what_is_left() -> dict[str, Any]:
    log = EventLog.objects.get(job_id=JOB)
    return {
        "jobs": Job.objects.filter(job_id=JOB).count(),
        "events": ArchivedEvent.objects.filter(log=log).count(),
        "checkpoints": ArchiveCheckpoint.objects.filter(log=log).count(),
        "is_deleted": log.deleted_at is not None,
        "is_erased": log.erased_at is not None,
        "streams": get_redis().exists(f"job_events:{JOB}"),
        "others": ArchivedEvent.objects.exclude(log=log).count(),
    }


def write_late(lines: Lines, name: str = "late") -> None:
    """Try to write to the log and to read it; send the names of the errors."""
    use_test_settings()
    calls = {
        "publish": lambda: get_publisher().publish_event(JOB, {"c": name}),
        "commit": lambda: outbox.publish_event(JOB, {"c": name}),
        "create": lambda: services.job_create(job_id=JOB, task_type="manual"),
        "read": lambda: read_events(JOB),
    }
    errors = {}
    for kind, call in calls.items():
        try:
            call()
        except (JobError, LogDeleted) as error:
            errors[kind] = type(error).__name__
    lines.send(errors=errors)


def publish_only(lines: Lines, name: str = "late") -> None:
    """Append to the stream first, as a worker that knows nothing of the deletion."""
    use_test_settings()
    try:
        get_publisher().publish_event(JOB, {"c": name})
    except LogDeleted:
        lines.send(refused=True)
    else:
        lines.send(refused=False)
