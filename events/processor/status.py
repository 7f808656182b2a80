"""How the log does: is it processed, what waits, what is stuck. For the admin, checks and pages."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import time
from typing import Any, Final

from django.db.models import Count, Min, QuerySet
from django.utils import timezone

from events.conf import event_settings
from events.exceptions import EventsError, RedisUnavailable
from events.models import ArchiveCheckpoint, ArchivedEvent, Processor
from events.processor.lag import ArchiveLag, archive_lag
from events.streams.clients import get_redis, is_reachable

ALIVE_SECONDS: Final = 30
LATE_SECONDS: Final = 60
MAX_STALLED: Final = 100


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """Events that were committed, and that nobody has seen in their stream yet.

    `oldest_age` is in seconds.
    """

    depth: int
    oldest_age: float | None = None

    @property
    def late(self) -> bool:
        """Whether something waits longer than LATE_SECONDS."""
        return (self.oldest_age or 0.0) > LATE_SECONDS


@dataclass(frozen=True, slots=True)
class ArchiveStatus:
    """Entries of streams that are not in the archive yet; see `events.processor.lag.ArchiveLag`.

    `oldest_age` is in seconds. All is None when Redis does not answer; `error` says why.
    """

    entries: int | None = None
    oldest_age: float | None = None
    streams: int | None = None
    behind: int | None = None
    unknown: int | None = None
    complete: bool | None = None
    error: str = ""

    @property
    def late(self) -> bool:
        """Whether something waits longer than LATE_SECONDS."""
        return (self.oldest_age or 0.0) > LATE_SECONDS


@dataclass(frozen=True, slots=True)
class StalledLog:
    """A log that cannot be archived further, and why."""

    job_id: str
    error: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class ProcessorStatus:
    """A `manage.py process_events`, as it said last; `loops` has the numbers of each loop."""

    name: str
    started_at: datetime
    heartbeat_at: datetime
    alive: bool
    loops: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogStatus:
    """How the log did at a moment.

    `running`: some processor was seen within ALIVE_SECONDS. `stalled` has the first MAX_STALLED of
    the `stalled_count` logs that cannot be archived.
    """

    at: datetime
    running: bool
    outbox: OutboxStatus
    archive: ArchiveStatus
    stalled_count: int
    stalled: tuple[StalledLog, ...]
    processors: tuple[ProcessorStatus, ...]

    @property
    def healthy(self) -> bool:
        """Whether nobody has to look: it runs, Redis answers, nothing is stalled or late."""
        late = self.outbox.late or self.archive.late
        return self.running and not (self.archive.error or self.stalled_count or late)


def get_status() -> LogStatus:
    """Ask the database and Redis how the log does.

    Costs four queries, of which one counts what is in the outbox, and what
    `events.processor.lag.archive_lag` costs; a second at most to see that Redis is down. Raises
    django.db.Error when the database is.
    """
    now = timezone.now()
    processors = _processors(now)
    return LogStatus(
        at=now,
        running=any(processor.alive for processor in processors),
        outbox=outbox_status(),
        archive=_archive_status(),
        stalled_count=stalled_positions().count(),
        stalled=stalled_logs(),
        processors=processors,
    )


def is_running(using: str | None = None) -> bool:
    """Whether some `manage.py process_events` was seen within ALIVE_SECONDS; one small query."""
    since = alive_since(timezone.now())
    return Processor.objects.using(using).filter(heartbeat_at__gte=since).exists()


def alive_since(now: datetime) -> datetime:
    """Since when a processor has to be seen to be taken for alive."""
    return now - timedelta(seconds=ALIVE_SECONDS)


def outbox_status(using: str | None = None) -> OutboxStatus:
    """Count the events in the outbox; its partial index has no others."""
    pending = ArchivedEvent.objects.using(using).filter(event_id=None)
    found = pending.aggregate(depth=Count("pk"), oldest=Min("written_at"))
    oldest = found["oldest"]
    age = max((timezone.now() - oldest).total_seconds(), 0.0) if oldest else None
    return OutboxStatus(found["depth"], age)


def stalled_positions(using: str | None = None) -> "QuerySet[ArchiveCheckpoint]":
    """The positions that do not move, as something is wrong with what follows."""
    return ArchiveCheckpoint.objects.using(using).exclude(error="")


def stalled_logs() -> tuple[StalledLog, ...]:
    """The logs that cannot be archived, the longest stalled first; at most MAX_STALLED."""
    fields = ("log__job_id", "error", "failed_at")
    rows = stalled_positions().order_by("failed_at", "pk").values_list(*fields)
    return tuple(StalledLog(*row) for row in rows[:MAX_STALLED])


def _processors(now: datetime) -> tuple[ProcessorStatus, ...]:
    since = alive_since(now)
    return tuple(
        ProcessorStatus(
            each.name, each.started_at, each.heartbeat_at, each.heartbeat_at >= since, each.loops
        )
        for each in Processor.objects.order_by("-heartbeat_at", "name")
    )


def _archive_status() -> ArchiveStatus:
    try:
        get_redis()
        if not is_reachable(event_settings.REDIS_URL):
            raise RedisUnavailable
        return _aged(archive_lag())
    except EventsError as error:
        return ArchiveStatus(error=str(error))


def _aged(lag: ArchiveLag) -> ArchiveStatus:
    age = None if lag.oldest_ms is None else max(time() - lag.oldest_ms / 1000, 0.0)
    return ArchiveStatus(
        entries=lag.entries,
        oldest_age=age,
        streams=lag.streams,
        behind=lag.behind,
        unknown=lag.unknown,
        complete=lag.complete,
    )
