"""The job row follows the log: what workers without a database say of a job is written to its row.

A step that a service took is in the row before it is in the log; of the events of services only
the attempt matters here. All others are from outside, and hold anything: what makes no sense is
left out, and nothing raises.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import orjson
from django.db import connection, transaction
from django.db.models import QuerySet
from django.dispatch import Signal
from django.utils import timezone

from events.codec import dump_json
from events.conf import event_settings, is_number
from events.exceptions import InvalidEvent
from events.types import OUTBOX, Event, EventType, Producer
from jobs import signals
from jobs.models import Job
from jobs.validators import clean_error

logger = logging.getLogger(__name__)

Status = Job.Status

# What is said just before the end of a job may be appended just after it.
COMPLETION_GRACE: Final = timedelta(seconds=5)

_BECOMES: Final[Mapping[str, Status]] = {
    EventType.TASK_STARTED: Status.RUNNING,
    EventType.TASK_PROGRESS: Status.RUNNING,
    EventType.TASK_COMPLETED: Status.COMPLETED,
    EventType.TASK_FAILED: Status.FAILED,
}
_TRANSACTIONAL: Final = f"{OUTBOX}:"


class JobProjection:
    """The owner of the logs of jobs: an `events.archive.projections.Projection`."""

    def lock(self, events: Mapping[str, Sequence[Event]]) -> Collection[str]:
        """Lock the rows that these events may move; returns those that somebody else has locked."""
        if not connection.features.has_select_for_update:
            return ()  # SQLite has one lock, and the archiver has it
        job_ids = [job_id for job_id, said in events.items() if _telling(said)]
        jobs = Job.objects.filter(job_id__in=job_ids).order_by()
        locked = set(_locked(jobs).values_list("job_id", flat=True)) if job_ids else set()
        if len(locked) == len(job_ids):
            return ()
        return set(jobs.values_list("job_id", flat=True)) - locked

    def apply(self, events: Mapping[str, Sequence[Event]]) -> None:
        """Let the rows follow these events; those of jobs without a row change nothing."""
        telling = {job_id: told for job_id, said in events.items() if (told := _telling(said))}
        if not telling:
            return
        # A row that nobody could lock was made after these events were read.
        jobs = _locked(Job.objects.filter(job_id__in=telling).order_by())
        rows = [_Row(job) for job in jobs.defer("payload", "result")]
        for row in rows:
            for event in telling[row.job.job_id]:
                row.follow(event)
        _save(rows)

    def completed_jobs(self, job_ids: Collection[str]) -> Collection[str]:
        """Those of these jobs that have been over for a while."""
        over = Job.objects.filter(job_id__in=job_ids, status__in=Job.TERMINAL_STATUSES).order_by()
        settled = over.filter(finished_at__lte=timezone.now() - COMPLETION_GRACE)
        return set(settled.values_list("job_id", flat=True))


def _locked(jobs: QuerySet[Job]) -> QuerySet[Job]:
    """The jobs, locked; without those that somebody else has locked."""
    return jobs.select_for_update(skip_locked=connection.features.has_select_for_update_skip_locked)


def _telling(events: Sequence[Event]) -> list[Event]:
    """The events that may move a row: of a long log, few."""
    return [
        event
        for event in events
        if event.event_type in _BECOMES or event.producer.startswith(_TRANSACTIONAL)
    ]


@dataclass(slots=True)
class _Row:
    """A job's row, as the events move it; `changed` are the fields to save."""

    job: Job
    changed: set[str] = field(default_factory=set)
    told_progress: bool = False

    def follow(self, event: Event) -> None:
        """Go where an event says, if it may say so."""
        producer = Producer.parse(event.producer)
        if producer is not None and producer.id == OUTBOX:
            self._reach(producer.epoch)
        elif event.event_type in _BECOMES and not self.job.is_terminal:
            data = _data(event)
            if data is not None and self._is_of_this_attempt(producer, data):
                self._move(event, data)

    def _reach(self, attempt: int) -> None:
        """The log is at this attempt from here on; one that the job never had says nothing."""
        if 0 < attempt <= self.job.attempt and attempt != self.job.projected_attempt:
            self._set(projected_attempt=attempt)

    def _is_of_this_attempt(self, producer: Producer | None, data: Mapping[str, Any]) -> bool:
        """By its labels; an event without any belongs to the attempt that the log is at."""
        labels: list[float] = [producer.epoch] if producer is not None and producer.epoch else []
        attempt = data.get("attempt")
        if isinstance(attempt, (int, float)) and not isinstance(attempt, bool):
            labels.append(attempt)
        return all(label == self.job.attempt for label in labels or [self.job.projected_attempt])

    def _move(self, event: Event, data: Mapping[str, Any]) -> None:
        status = reported_status(event.event_type, data)
        if status is not None and status in Job.TERMINAL_STATUSES:
            self._finish(status, event, data)
        elif status == Status.RUNNING and self.job.status == Status.PENDING:
            self._set(started_at=_time(event), deadline_at=None, deadline_status="")
            self._become(status)
        if self.job.status == Status.RUNNING:
            self._progress(data.get("progress"))

    def _finish(self, status: Status, event: Event, data: Mapping[str, Any]) -> None:
        time = _time(event)
        started_at = self.job.started_at or time
        self._set(started_at=started_at, finished_at=max(time, started_at))
        self._set(deadline_at=None, deadline_status="")
        if status == Status.COMPLETED:
            self._set(progress=100.0)
            if (result := _result(event, data.get("result"))) is not None:
                self._set(result=result)
        elif status == Status.FAILED:
            self._set(error=_error(data.get("error")))
        self._become(status)

    def _progress(self, progress: Any) -> None:
        if not is_number(progress, most=100) or progress <= self.job.progress:
            return
        self._set(progress=float(progress))
        if not self.told_progress:
            self.told_progress = True
            _on_commit(signals.job_progressed, job=self.job)

    def _become(self, status: Status) -> None:
        old_status = Status(self.job.status)
        self._set(status=status)
        _on_commit(
            signals.job_status_changed, job=self.job, old_status=old_status, new_status=status
        )

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self.job, name, value)
        self.changed.update(values)


def _save(rows: Iterable[_Row]) -> None:
    """Write what changed, in as many statements for one job as for a hundred."""
    changed = [row for row in rows if row.changed]
    small = set[str]().union(*(row.changed for row in changed)) - {"result"}
    if small:
        Job.objects.bulk_update([row.job for row in changed], sorted(small))
    with_result = [row.job for row in changed if "result" in row.changed]
    if with_result:
        Job.objects.bulk_update(with_result, ["result"])


def _on_commit(signal: Signal, **given: Any) -> None:
    transaction.on_commit(partial(signal.send_robust, sender=Job, **given))


def _data(event: Event) -> dict[str, Any] | None:
    try:
        data: Any = event.data
    except orjson.JSONDecodeError:
        return None
    return data if isinstance(data, dict) else None


def reported_status(event_type: str, data: Mapping[str, Any]) -> Status | None:
    """What the job is, as an event says by `job_status` or by its type; most say nothing.

    The end of a task is the end of its job, unless the event says that the job goes on.
    """
    said = data.get("job_status")
    return Status(said) if said in Status.values else _BECOMES.get(event_type)


def _time(event: Event) -> datetime:
    """When it happened, by the clock of whoever says so; never in the future by ours."""
    now = timezone.now()
    try:
        time = datetime.fromisoformat(event.timestamp)
        time = time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return now
    return min(time, now)


def _error(error: object) -> str:
    return clean_error(error) if error not in (None, "") else ""


def _result(event: Event, result: object) -> Any:
    """The result, if a row can hold it; the log does in any case."""
    try:
        size = len(dump_json(result, "The result"))
    except InvalidEvent:
        size = None
    if size is not None and size <= event_settings.MAX_EVENT_BYTES:
        return result
    logger.warning(
        "job_result_not_kept", extra={"job_id": event.job_id, "event_id": event.id, "bytes": size}
    )
    return None
