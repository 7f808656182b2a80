"""Status of the log: processors, database, Redis, outbox, archive lag, stalled logs and losses."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Count, Min, Q, QuerySet
from django.utils import timezone

from events.database import database_now, now_expression
from events.exceptions import EventsError, RedisUnavailable
from events.log_format import summarize_error
from events.models import ArchiveCheckpoint, ArchivedEvent, LogGap, Processor
from events.processor.lag import LATE_SECONDS, ArchiveLag, archive_lag
from events.processor.losses import with_next_event
from events.processor.problems import REDIS_LOOP, Problem, find_problems
from events.streams.clients import get_redis, is_available
from events.streams.memory import RedisMemory, read_memory

ALIVE_SECONDS: Final = 30
MAX_DEAD_AGE: Final = timedelta(hours=1)
MAX_STALLED: Final = 100
MAX_LOSSES: Final = 100
LOSS_AGE: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """Committed events that were not read from their stream yet; `oldest_age` is in seconds.

    Both are None without the database.
    """

    depth: int | None = None
    oldest_age: float | None = None

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
class LogLoss:
    """Events that Redis lost: those between `after` and `before`, of which it may have none yet.

    `ids` are those that are known.
    """

    job_id: str
    after: str
    before: str | None
    ids: list[str]
    detected_at: datetime


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

    `running` is True if a processor sent a heartbeat within ALIVE_SECONDS; `processors` are those
    whose last one is at most MAX_DEAD_AGE old. `stalled` has the first MAX_STALLED of
    `stalled_count` logs, `losses` the latest MAX_LOSSES of `loss_count` within LOSS_AGE.
    """

    at: datetime
    redis: RedisMemory
    archive: ArchiveLag
    running: bool = False
    outbox: OutboxStatus = OutboxStatus()
    stalled_count: int = 0
    stalled: tuple[StalledLog, ...] = ()
    loss_count: int = 0
    losses: tuple[LogLoss, ...] = ()
    last_heartbeat_at: datetime | None = None
    processors: tuple[ProcessorStatus, ...] = ()
    database_error: str = ""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong, causes before their effects."""
        return tuple(find_problems(self))

    @property
    def healthy(self) -> bool:
        return not self.problems


def get_status() -> LogStatus:
    """Query the database and Redis for the status.

    Costs seven queries, one of them a count of the outbox, and `events.processor.lag.archive_lag`.
    Detects an unresponsive Redis within a second. Raises django.db.Error.
    """
    now = database_now()
    processors, redis = _processors(now), redis_memory()
    gaps = LogGap.objects.filter(detected_at__gte=now - LOSS_AGE)
    return LogStatus(
        at=now,
        redis=redis,
        archive=ArchiveLag(error=redis.error) if redis.error else _archive_lag(),
        running=any(processor.alive for processor in processors),
        outbox=outbox_status(),
        stalled_count=stalled_checkpoints().count(),
        stalled=stalled_logs(),
        loss_count=gaps.count(),
        losses=_losses(gaps),
        last_heartbeat_at=processors[0].heartbeat_at if processors else None,
        processors=tuple(each for each in processors if each.heartbeat_at > now - MAX_DEAD_AGE),
    )


def status_without_database(error: Exception) -> LogStatus:
    """The status while the database raises this error."""
    archive = ArchiveLag(error="The database is not available.")
    text = summarize_error(error)
    return LogStatus(timezone.now(), redis_memory(), archive, database_error=text)


def is_running() -> bool:
    """Whether a processor sent a heartbeat within ALIVE_SECONDS; costs one small query."""
    alive = alive_range(now_expression())
    return Processor.objects.filter(heartbeat_at__range=alive).exists()


def processing_problem() -> str | None:
    """Why events are not processed, for pages; costs the query of `is_running`.

    Empty if no processor runs, otherwise the error of Redis that one has; None for no problem.
    """
    alive = Processor.objects.filter(heartbeat_at__range=alive_range(now_expression()))
    rows = list(alive.values_list("loops", flat=True))
    loops = [row[REDIS_LOOP] for row in rows if row.get(REDIS_LOOP, {}).get("failing")]
    errors = [loop["error"].partition(": ")[2] for loop in loops]
    return next(iter(errors), None) if rows else ""


def alive_range(now: Any) -> tuple[Any, Any]:
    """The last heartbeats of processors that are considered alive, by the database's clock.

    A later heartbeat was sent before the clock was turned back.
    """
    span = timedelta(seconds=ALIVE_SECONDS)
    return now - span, now + span


def outbox_status() -> OutboxStatus:
    """Count the events in the outbox, by its partial index."""
    pending = ArchivedEvent.objects.filter(event_id=None)
    found = pending.aggregate(depth=Count("pk"), age=now_expression() - Min("written_at"))
    age = found["age"]
    return OutboxStatus(found["depth"], None if age is None else max(age.total_seconds(), 0.0))


def stalled_checkpoints() -> "QuerySet[ArchiveCheckpoint]":
    """The archive checkpoints of logs that cannot be archived."""
    return ArchiveCheckpoint.objects.exclude(error="")


def stalled_logs() -> tuple[StalledLog, ...]:
    """The logs that cannot be archived, the longest stalled first; at most MAX_STALLED."""
    rows = stalled_checkpoints().order_by("failed_at", "pk")
    found = rows.values_list("log__job_id", "error", "failed_at")[:MAX_STALLED]
    return tuple(StalledLog(*row) for row in found)


def _processors(now: datetime) -> tuple[ProcessorStatus, ...]:
    rows = Processor.objects.annotate(alive=Q(heartbeat_at__range=alive_range(now)))
    found = rows.values_list("name", "started_at", "heartbeat_at", "alive", "loops")
    return tuple(ProcessorStatus(*row) for row in found.order_by("-heartbeat_at", "name"))


def _losses(gaps: "QuerySet[LogGap]") -> tuple[LogLoss, ...]:
    rows = with_next_event(gaps).order_by("-detected_at", "-pk")
    found = rows.values_list("log__job_id", "after", "before", "ids", "detected_at")[:MAX_LOSSES]
    return tuple(
        LogLoss(job_id, str(after), None if before is None else str(before), ids, detected_at)
        for job_id, after, before, ids, detected_at in found
    )


def redis_memory() -> RedisMemory:
    """The memory of Redis, or its error; detects an unresponsive Redis within a second."""
    try:
        client = get_redis()
        if not is_available():
            raise RedisUnavailable
        return read_memory(client)
    except EventsError as error:
        return RedisMemory(error=str(error))


def _archive_lag() -> ArchiveLag:
    try:
        return archive_lag()
    except EventsError as error:
        return ArchiveLag(error=str(error))
