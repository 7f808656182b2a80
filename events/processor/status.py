"""Status of the log: running processors, outbox, archive lag and stalled logs."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Count, Min, QuerySet
from django.utils import timezone

from events.conf import event_settings
from events.exceptions import EventsError, RedisUnavailable
from events.models import ArchiveCheckpoint, ArchivedEvent, Processor
from events.processor.lag import LATE_SECONDS, ArchiveLag, archive_lag
from events.streams.clients import get_redis, is_reachable

ALIVE_SECONDS: Final = 30
MAX_STALLED: Final = 100


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """Committed events that were not read from their stream yet; `oldest_age` is in seconds."""

    depth: int
    oldest_age: float | None = None

    @property
    def late(self) -> bool:
        """Whether an event is older than LATE_SECONDS."""
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
    loops: dict[str, dict[str, Any]] = field(default_factory=dict)


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
    now = timezone.now()
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
    since = alive_since(timezone.now())
    return Processor.objects.using(using).filter(heartbeat_at__gte=since).exists()


def alive_since(now: datetime) -> datetime:
    """The earliest last heartbeat of a processor that is considered alive."""
    return now - timedelta(seconds=ALIVE_SECONDS)


def outbox_status(using: str | None = None) -> OutboxStatus:
    """Count the events in the outbox, by its partial index."""
    pending = ArchivedEvent.objects.using(using).filter(event_id=None)
    found = pending.aggregate(depth=Count("pk"), oldest=Min("written_at"))
    oldest = found["oldest"]
    age = max((timezone.now() - oldest).total_seconds(), 0.0) if oldest else None
    return OutboxStatus(found["depth"], age)


def stalled_checkpoints(using: str | None = None) -> "QuerySet[ArchiveCheckpoint]":
    """The archive checkpoints of logs that cannot be archived."""
    return ArchiveCheckpoint.objects.using(using).exclude(error="")


def stalled_logs() -> tuple[StalledLog, ...]:
    """The logs that cannot be archived, the longest stalled first; at most MAX_STALLED."""
    fields = ("log__job_id", "error", "failed_at")
    rows = stalled_checkpoints().order_by("failed_at", "pk").values_list(*fields)
    return tuple(StalledLog(*row) for row in rows[:MAX_STALLED])


def _processors(now: datetime) -> tuple[ProcessorStatus, ...]:
    since = alive_since(now)
    return tuple(
        ProcessorStatus(
            each.name, each.started_at, each.heartbeat_at, each.heartbeat_at >= since, each.loops
        )
        for each in Processor.objects.order_by("-heartbeat_at", "name")
    )


def _archive_lag() -> ArchiveLag:
    try:
        get_redis()
        if not is_reachable(event_settings.REDIS_URL):
            raise RedisUnavailable
        return archive_lag()
    except EventsError as error:
        return ArchiveLag(error=str(error))
