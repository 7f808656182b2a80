"""Status of the log: running processors, outbox, archive lag and stalled logs, as data and text."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Count, Min, Q, QuerySet
from django.utils import timezone

from events.conf import event_settings
from events.database import database_now, now_expression
from events.exceptions import EventsError, RedisUnavailable
from events.models import ArchiveCheckpoint, ArchivedEvent, Processor
from events.processor.lag import LATE_SECONDS, ArchiveLag, archive_lag
from events.streams.clients import get_redis, is_reachable

ALIVE_SECONDS: Final = 30
MAX_STALLED: Final = 100
_UNIT_SECONDS: Final = (("d", 86_400), ("h", 3_600), ("min", 60))


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """Committed events that were not read from their stream yet; `oldest_age` is in seconds."""

    depth: int
    oldest_age: float | None

    @property
    def late(self) -> bool:
        return (self.oldest_age or 0.0) > LATE_SECONDS


@dataclass(frozen=True, slots=True)
class StalledLog:
    """A log that cannot be archived, and why."""

    job_id: str
    error: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class ProcessorStatus:
    """A `manage.py process_events` at its last heartbeat; `loops` has the stats of each loop."""

    name: str
    started_at: datetime
    heartbeat_at: datetime
    alive: bool
    loops: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class LogStatus:
    """The status at one time.

    `running` is True if a processor sent a heartbeat within ALIVE_SECONDS. `stalled` has the first
    MAX_STALLED of `stalled_count` logs.
    """

    at: datetime
    running: bool
    outbox: OutboxStatus
    archive: ArchiveLag
    stalled_count: int
    stalled: tuple[StalledLog, ...]
    processors: tuple[ProcessorStatus, ...]

    @property
    def healthy(self) -> bool:
        """Whether a processor runs, Redis responds, and nothing is stalled or late."""
        late = self.outbox.late or self.archive.late
        return self.running and not (self.archive.error or self.stalled_count or late)


def get_status() -> LogStatus:
    """Query the database and Redis for the status.

    Costs four queries, one of them a count of the outbox, and `events.processor.lag.archive_lag`.
    Detects an unresponsive Redis within a second. Raises django.db.Error.
    """
    now = database_now()
    processors = _processors(now)
    return LogStatus(
        at=now,
        running=any(processor.alive for processor in processors),
        outbox=outbox_status(),
        archive=_archive_lag(),
        stalled_count=stalled_checkpoints().count(),
        stalled=stalled_logs(),
        processors=processors,
    )


def is_running(using: str | None = None) -> bool:
    """Whether a processor sent a heartbeat within ALIVE_SECONDS; costs one small query."""
    processors = Processor.objects.using(using)
    return processors.filter(heartbeat_at__range=alive_range(now_expression())).exists()


def alive_range(now: Any) -> tuple[Any, Any]:
    """The last heartbeats of processors that are considered alive, by the database's clock.

    A later heartbeat was sent before the clock was turned back.
    """
    span = timedelta(seconds=ALIVE_SECONDS)
    return now - span, now + span


def outbox_status(using: str | None = None) -> OutboxStatus:
    """Count the events in the outbox, by its partial index."""
    pending = ArchivedEvent.objects.using(using).filter(event_id=None)
    found = pending.aggregate(depth=Count("pk"), age=now_expression() - Min("written_at"))
    age = found["age"]
    return OutboxStatus(found["depth"], None if age is None else max(age.total_seconds(), 0.0))


def stalled_checkpoints(using: str | None = None) -> "QuerySet[ArchiveCheckpoint]":
    """The archive checkpoints of logs that cannot be archived."""
    return ArchiveCheckpoint.objects.using(using).exclude(error="")


def stalled_logs() -> tuple[StalledLog, ...]:
    """The logs that cannot be archived, the longest stalled first; at most MAX_STALLED."""
    rows = stalled_checkpoints().order_by("failed_at", "pk")
    found = rows.values_list("log__job_id", "error", "failed_at")[:MAX_STALLED]
    return tuple(StalledLog(*row) for row in found)


def _processors(now: datetime) -> tuple[ProcessorStatus, ...]:
    rows = Processor.objects.annotate(alive=Q(heartbeat_at__range=alive_range(now)))
    found = rows.values_list("name", "started_at", "heartbeat_at", "alive", "loops")
    return tuple(ProcessorStatus(*row) for row in found.order_by("-heartbeat_at", "name"))


def _archive_lag() -> ArchiveLag:
    try:
        get_redis()
        if not is_reachable(event_settings.REDIS_URL):
            raise RedisUnavailable
        return archive_lag()
    except EventsError as error:
        return ArchiveLag(error=str(error))


def status_json(status: LogStatus) -> str:
    """The status as JSON; times are ISO 8601, ages are seconds."""
    data = {**asdict(status), "healthy": status.healthy}
    return json.dumps(data, cls=DjangoJSONEncoder, indent=2)


def status_table(status: LogStatus) -> str:
    """The status as a table of lines."""
    return "\n".join(f"{name:<15}{text}".rstrip() for name, text in _rows(status))


def _rows(status: LogStatus) -> Iterator[tuple[str, str]]:
    yield "process_events", "running" if status.running else "NOT RUNNING"
    for processor in status.processors:
        age = duration_text((status.at - processor.heartbeat_at).total_seconds())
        state = "" if processor.alive else ", considered dead"
        started = _time_text(processor.started_at)
        yield "", f"{processor.name}, started {started}, last heartbeat {age} ago{state}"
        for name, loop in processor.loops.items():
            yield "", f"  {name:<11}{loop_text(loop)}"
    outbox = status.outbox
    depth = f"{_counted(outbox.depth, 'event')}{_oldest_text(outbox.oldest_age)}"
    yield "outbox", depth if outbox.depth else "empty"
    yield "archive", _archive_text(status.archive)
    yield "stalled logs", str(status.stalled_count)
    for stalled in status.stalled:
        since = f" since {_time_text(stalled.since)}" if stalled.since else ""
        yield "", f"{stalled.job_id}{since}: {stalled.error}"


def loop_text(loop: dict[str, Any]) -> str:
    """The stats of a loop in one line."""
    text = f"{_counted(loop['rounds'], 'round')}, {_counted(loop['events'], 'event')}"
    if loop["failures"]:
        last = "FAILING NOW" if loop["failing"] else "the last"
        text += f", {_counted(loop['failures'], 'failure')}, {last}: {loop['error']}"
    return text


def _archive_text(archive: ArchiveLag) -> str:
    if archive.error:
        return f"unknown: {archive.error}"
    behind = f"{archive.behind} of {_counted(archive.streams or 0, 'stream')} behind"
    more = "" if archive.complete else "; there are more streams"
    return f"{behind}{_oldest_text(archive.oldest_age)}{more}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun if count == 1 else noun + 's'}"


def _oldest_text(age: float | None) -> str:
    return "" if age is None else f", the oldest for {duration_text(age)}"


def duration_text(seconds: float) -> str:
    """A duration as one number and its unit."""
    for unit, length in _UNIT_SECONDS:
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1f} s"


def _time_text(value: datetime) -> str:
    return f"{timezone.localtime(value):%Y-%m-%d %H:%M:%S %Z}"
