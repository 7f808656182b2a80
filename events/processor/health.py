"""Health: the state of processors, outbox, archive, Redis and database, with thresholds."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from time import monotonic
from typing import Final

from events.conf import event_settings
from events.processor.lag import LATE_SECONDS, ArchiveLag
from events.processor.problems import Problem, runbook_link
from events.processor.status import LogStatus, OutboxStatus, get_status
from events.streams.memory import RedisMemory

OK: Final = "ok"
WARNING: Final = "warning"
CRITICAL: Final = "critical"
UNKNOWN: Final = "unknown"
STATES: Final = (OK, WARNING, CRITICAL, UNKNOWN)
_RANK: Final = (OK, UNKNOWN, WARNING, CRITICAL)

_CACHE_SECONDS: Final = 5.0
# The problems that an item shows, and the heading of its runbook without one.
_PROBLEMS: Final = {
    "database": ("database-connection",),
    "redis": ("redis-connection", "redis-writes", "redis-eviction"),
    "redis_memory": ("redis-memory",),
    "processors": ("processors", "processor-loops"),
    "outbox": ("outbox-lag",),
    "outbox_age": ("outbox-lag",),
    "archive": ("archive-lag",),
    "archive_age": ("archive-lag",),
    "stalled_logs": ("stalled-logs",),
    "lost_events": ("lost-events",),
}
_MINOR: Final = frozenset({"redis-eviction"})


@dataclass(frozen=True, slots=True)
class HealthItem:
    """One item: a count, bytes, or the age of the oldest event in seconds.

    `value` is None if it is unknown; `limit` is the greatest possible value. From `threshold` on,
    or below it for `processors`, the state is not "ok". `detail` describes the problem, `action`
    how to solve it; both are empty without a problem.
    """

    name: str
    state: str
    runbook: str
    value: float | None = None
    limit: float | None = None
    threshold: float | None = None
    detail: str = ""
    action: str = ""
    since: datetime | None = None


class StatusCache:
    """The status of the log, queried at most once in some seconds by the threads of a process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._expires = float("-inf")
        self._status: LogStatus | None = None

    def get(self) -> LogStatus:
        """Return the status. Raises django.db.Error."""
        with self._lock:
            if self._status is None or monotonic() > self._expires:
                self._status = get_status()
                self._expires = monotonic() + _CACHE_SECONDS
            return self._status

    def clear(self) -> None:
        """Discard the status."""
        with self._lock:
            self._status = None


status_cache: Final = StatusCache()


# Items of other apps; each function queries one.
further_items: Final[list[Callable[[], HealthItem]]] = []


def health() -> list[HealthItem]:
    """Return the items of the current status, and those of other apps. Raises django.db.Error."""
    return [*health_items(status_cache.get()), *(each() for each in further_items)]


def worst_state(items: Iterable[HealthItem]) -> str:
    """Return the worst state of items, in the order ok, unknown, warning, critical."""
    return max((item.state for item in items), key=_RANK.index, default=OK)


def health_items(status: LogStatus) -> Iterator[HealthItem]:
    """Yield the items of a status: connections first, then what depends on them."""
    problems = {each.code: each for each in status.problems}
    alive, known = sum(each.alive for each in status.processors), len(status.processors)
    yield _item("database", problems, OK)
    yield _item("redis", problems, OK)
    yield _memory(status.redis, problems)
    state = OK if alive == known and alive else WARNING
    yield _item("processors", problems, state, alive, limit=max(known, 1), threshold=1)
    yield _item("outbox", problems, _known(status.outbox.depth), status.outbox.depth)
    yield _age("outbox_age", problems, status.outbox, status.outbox.depth)
    yield _item("archive", problems, _known(status.archive.behind), status.archive.behind)
    yield _age("archive_age", problems, status.archive, status.archive.behind)
    streams = status.archive.streams
    yield HealthItem("streams", _known(streams), runbook_link("redis-memory"), streams)
    yield _item("stalled_logs", problems, OK, status.stalled_count, threshold=1)
    state = WARNING if status.loss_count else OK
    yield _item("lost_events", problems, state, status.loss_count, threshold=1)


def _item(
    name: str,
    problems: dict[str, Problem],
    state: str,
    value: float | None = None,
    *,
    limit: float | None = None,
    threshold: float | None = None,
) -> HealthItem:
    codes = _PROBLEMS[name]
    found = next((problems[code] for code in codes if code in problems), None)
    if found is None:
        return HealthItem(name, state, runbook_link(codes[0]), value, limit, threshold)
    state = WARNING if found.code in _MINOR else CRITICAL
    text = found.description, found.advice, found.since
    return HealthItem(name, state, found.runbook, value, limit, threshold, *text)


def _known(value: float | None) -> str:
    return UNKNOWN if value is None else OK


def _memory(memory: RedisMemory, problems: dict[str, Problem]) -> HealthItem:
    """The memory of Redis; unknown if Redis does not answer or its user may not run INFO."""
    used = memory.used if memory.policy else None
    limit = memory.limit or None
    state = WARNING if memory.is_under_pressure else _known(used)
    threshold = limit and event_settings.MEMORY_PRESSURE * limit
    return _item("redis_memory", problems, state, used, limit=limit, threshold=threshold)


def _age(
    name: str, problems: dict[str, Problem], lag: OutboxStatus | ArchiveLag, count: int | None
) -> HealthItem:
    """The age of the oldest event that waits; 0 if none does."""
    age = None if count is None else lag.oldest_age or 0.0
    state = CRITICAL if lag.late else WARNING if (age or 0) > LATE_SECONDS / 2 else _known(age)
    return _item(name, problems, state, age, threshold=LATE_SECONDS)
