"""Projection of logs onto the rows of jobs.

Workers without a database only publish events; this projection updates the row of their job.
Services update the row before their event is in the log: of their events only the attempt matters.
Events of other producers may contain any JSON; invalid values are ignored, and nothing raises.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db.models import QuerySet

from events.codec import dump_json, replace_invalid
from events.conf import event_settings, is_number
from events.database import column_time, database_now, now_expression, write_connection
from events.error_report import shortened_error
from events.exceptions import InvalidEvent
from events.types import OUTBOX, Event, EventType, Producer
from jobs import signals, transitions
from jobs.models import Job
from jobs.usage import add_usage
from jobs.validators import clean_reason

logger = logging.getLogger(__name__)

Status = Job.Status

# Events published just before the end of a job may be appended after it.
COMPLETION_GRACE: Final = timedelta(seconds=5)

_STATUS_OF_TYPE: Final[Mapping[str, Status]] = {
    EventType.TASK_STARTED: Status.RUNNING,
    EventType.TASK_PROGRESS: Status.RUNNING,
    EventType.TASK_COMPLETED: Status.COMPLETED,
    EventType.TASK_FAILED: Status.FAILED,
}
_MAX_PHASE_CHARACTERS: Final = 200
_RELEVANT_TYPES: Final = frozenset(
    {*_STATUS_OF_TYPE, EventType.PHASE_UPDATE, EventType.MODEL_RESULT}
)
# What is published about a job before its work begins.
_BEFORE_WORK: Final = frozenset({"job_created", "task_enqueued", EventType.TASK_STARTED})


class JobProjection:
    """Updates the rows of jobs; an `events.archive.Projection`."""

    def lock(self, events: Mapping[str, Sequence[Event]]) -> Collection[str]:
        """Lock the rows that these events affect; return those that others have locked."""
        if not write_connection().features.has_select_for_update:
            return ()  # SQLite has one lock, which the archiver holds
        jobs = Job.objects.filter(job_id__in=events).order_by()
        locked = set(_lock(jobs).values_list("job_id", flat=True))
        if len(locked) == len(events):
            return ()
        return set(jobs.values_list("job_id", flat=True)) - locked

    def apply(self, events: Mapping[str, Sequence[Event]]) -> None:
        """Update the rows from these events; jobs without a row are ignored."""
        logs = {job_id: log for job_id, log in events.items() if log}
        # A row that `lock` did not find was inserted after these events were read.
        jobs = _lock(Job.objects.filter(job_id__in=logs).order_by())
        locked = list(jobs.defer("payload", "result"))
        if not locked:
            return
        now = database_now()
        rows = [_Row(job, now) for job in locked]
        for row in rows:
            log = logs[row.job.job_id]
            row.count(log)
            for event in _relevant(log):
                row.apply(event)
        _save(rows)

    def completed_jobs(self, job_ids: Collection[str]) -> Collection[str]:
        """Return which of these jobs have been terminal for COMPLETION_GRACE."""
        jobs = Job.objects.filter(job_id__in=job_ids, status__in=Job.TERMINAL_STATUSES).order_by()
        completed = jobs.filter(finished_at__lte=now_expression() - COMPLETION_GRACE)
        return set(completed.values_list("job_id", flat=True))


def _lock(jobs: QuerySet[Job]) -> QuerySet[Job]:
    """Lock the rows, without those that other transactions have locked."""
    features = write_connection().features
    return jobs.select_for_update(skip_locked=features.has_select_for_update_skip_locked)


def _relevant(log: Sequence[Event]) -> list[Event]:
    """Return the events that may affect a row: a small part of a long log."""
    return [
        event
        for event in log
        if event.event_type in _RELEVANT_TYPES or event.producer.startswith(f"{OUTBOX}:")
    ]


@dataclass(slots=True)
class _Row:
    """The row of a job; `changed` are the fields to save."""

    job: Job
    now: datetime
    changed: set[str] = field(default_factory=set)
    is_status_changed: bool = False

    def count(self, log: Sequence[Event]) -> None:
        """Update the columns that describe the log."""
        if self.job.first_event_at is None:
            first = next((each for each in log if each.event_type not in _BEFORE_WORK), None)
            self._set(first_event_at=first and self._time(first))
        self._set(last_event_at=self._time(log[-1]), event_count=self.job.event_count + len(log))

    def apply(self, event: Event) -> None:
        """Update the row from an event, unless the job is terminal or at another attempt."""
        producer = Producer.parse(event.producer)
        is_outbox = producer is not None and producer.id == OUTBOX
        if producer is not None and is_outbox:
            self._advance_attempt(producer.epoch)
        if event.event_type == EventType.MODEL_RESULT:
            add_usage(self.job.usage, event.data)
            self.changed.add("usage")
            return
        is_phase = event.event_type == EventType.PHASE_UPDATE
        is_ignored = is_outbox or self.job.is_terminal
        is_status = event.event_type in _STATUS_OF_TYPE and not is_ignored
        if not (is_phase or is_status):
            return
        data = event.data
        if self._is_of_current_attempt(producer, data):
            if is_phase:
                self._set_phase(data)
            else:
                self._update(event, data)

    def _advance_attempt(self, attempt: int) -> None:
        """Set the attempt of the following events; ignore one that the job has not reached."""
        if 0 < attempt <= self.job.attempt and attempt != self.job.projected_attempt:
            self._set(projected_attempt=attempt)

    def _is_of_current_attempt(self, producer: Producer | None, data: Mapping[str, Any]) -> bool:
        """Compare the epoch and the key `attempt`; without both, the projected attempt."""
        labels: list[float] = [producer.epoch] if producer is not None and producer.epoch else []
        attempt = data.get("attempt")
        if isinstance(attempt, (int, float)) and not isinstance(attempt, bool):
            labels.append(attempt)
        return all(label == self.job.attempt for label in labels or [self.job.projected_attempt])

    def _update(self, event: Event, data: Mapping[str, Any]) -> None:
        status = reported_status(event.event_type, data)
        if status is not None and status in Job.TERMINAL_STATUSES:
            self._finish(status, event, data)
        elif status == Status.RUNNING and self.job.status == Status.PENDING:
            self._set(started_at=self._time(event))
            self.job.set_run_deadline(self.now)
            self.changed |= {"deadline_at", "deadline_status"}
            self._set_status(status)
        if self.job.status == Status.RUNNING:
            self._set_progress(data.get("progress"))

    def _finish(self, status: Status, event: Event, data: Mapping[str, Any]) -> None:
        time = self._time(event)
        started_at = self.job.started_at or time
        self._set(started_at=started_at, finished_at=max(time, started_at))
        self._set(deadline_at=None, deadline_status="")
        if status == Status.COMPLETED:
            self._set(progress=100.0)
            if (result := _result(event, data.get("result"))) is not None:
                self._set(result=result)
        elif status == Status.FAILED:
            error = data.get("error")
            self._set(error=shortened_error(error) if error not in (None, "") else "")
        self.job.end_reason = clean_reason(data)
        self._set_status(status)

    def _set_phase(self, data: Mapping[str, Any]) -> None:
        nested = data.get("data")
        phase = data.get("phase", nested.get("phase") if isinstance(nested, dict) else None)
        if isinstance(phase, str):
            self._set(phase=replace_invalid(phase)[:_MAX_PHASE_CHARACTERS])

    def _set_progress(self, progress: Any) -> None:
        if not is_number(progress, most=100) or progress <= self.job.progress:
            return
        if "progress" not in self.changed:
            signals.send_on_commit(signals.job_progressed, self.job)
        self._set(progress=float(progress))

    def _set_status(self, status: Status) -> None:
        change = {"old_status": Status(self.job.status), "new_status": status}
        self._set(status=status)
        self.is_status_changed = True
        signals.send_on_commit(signals.job_status_changed, self.job, **change)

    def _time(self, event: Event) -> datetime:
        """Return the timestamp of the event, by default in UTC; at most the current time."""
        time = datetime.fromisoformat(event.timestamp)
        in_utc = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
        return min(column_time(in_utc), self.now)

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self.job, name, value)
        self.changed.update(values)


def _save(rows: Sequence[_Row]) -> None:
    """Save the changed fields, with the same number of statements for any number of rows."""
    if ended_or_begun := [row.job for row in rows if row.is_status_changed]:
        transitions.save_attempts(ended_or_begun)
    changed = [row for row in rows if row.changed]
    small = set[str]().union(*(row.changed for row in changed)) - {"result"}
    if small:
        _update([row.job for row in changed], sorted(small))
    with_result = [row.job for row in changed if "result" in row.changed]
    if with_result:
        _update(with_result, ["result"])


def _update(jobs: Sequence[Job], names: Sequence[str]) -> None:
    """Save fields of all jobs in one round trip: `bulk_update` takes 50 times as long."""
    connection, meta = write_connection(), Job._meta  # noqa: SLF001 - documented by Django
    quote = connection.ops.quote_name
    fields: list[Any] = [meta.get_field(name) for name in names]

    def values(job: Job) -> list[Any]:
        given = ((each, getattr(job, each.attname)) for each in fields)
        return [*(each.get_db_prep_save(value, connection) for each, value in given), job.pk]

    columns = ", ".join(f"{quote(each.column)} = %s" for each in fields)
    statement = f"UPDATE {quote(meta.db_table)} SET {columns} WHERE id = %s"  # noqa: S608 - names
    with connection.cursor() as cursor:
        cursor.executemany(statement, list(map(values, jobs)))


def reported_status(event_type: str, data: Mapping[str, Any]) -> Status | None:
    """Return the status that `job_status` or the event type reports; None for other events.

    `task_completed` completes the job unless `job_status` contradicts.
    """
    status = data.get("job_status")
    return Status(status) if status in Status.values else _STATUS_OF_TYPE.get(event_type)


def _result(event: Event, result: object) -> Any:
    """Return the result if it is JSON and not too large for a row; it stays in the log."""
    try:
        size = len(dump_json(result, "The result"))
    except InvalidEvent:
        size = None
    if size is not None and size <= event_settings.MAX_EVENT_BYTES:
        return result
    extra = {"job_id": event.job_id, "event_id": event.id, "bytes": size}
    logger.warning("job_result_discarded", extra=extra)
    return None
