"""Problems: what is wrong according to a status, since when, and what to do about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from events.error_text import ErrorText
from events.processor.lag import LATE_SECONDS
from events.streams.memory import SAFE_POLICY
from events.translation import translated

if TYPE_CHECKING:
    from events.processor.status import LogStatus

# The loop of a processor that fails while Redis refuses events.
REDIS_LOOP: Final = "redis"
_NOT_APPENDED: Final = ErrorText("Events are not appended to streams in time.")
_NOT_ARCHIVED: Final = ErrorText("Events are not archived in time.")
RECENT_LOSS: Final = timedelta(hours=1)
# Each has a heading in the runbook, and a check of `manage.py doctor`.
PROBLEM_CODES: Final = (
    "database-connection",
    "redis-connection",
    "redis-memory",
    "redis-writes",
    "processors",
    "processor-loops",
    "outbox-lag",
    "archive-lag",
    "stalled-logs",
    "lost-events",
    "redis-eviction",
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that an operator has to act on; `since` is None if that is unknown."""

    code: str
    what: str
    since: datetime | None
    action: str

    @property
    def description(self) -> str:
        """What is wrong, in the current language."""
        return translated(self.what)

    @property
    def advice(self) -> str:
        """The action, in the current language."""
        return translated(self.action)

    @property
    def runbook(self) -> str:
        return runbook_link(self.code)


def runbook_link(name: str) -> str:
    """Return the heading of the runbook about a problem or a check, relative to the repository."""
    return f"docs/operations.md#{name}"


def find_problems(status: "LogStatus") -> Iterator[Problem]:
    """Yield the problems of a status, causes before their effects."""
    outages = list(_outages(status))
    yield from outages
    if not status.running and not status.database_error:
        action = ErrorText("Start `manage.py process_events` and keep it running.")
        what, since = ErrorText("process_events is not running."), status.last_heartbeat_at
        yield Problem("processors", what, since, action)
    elif not outages:
        yield from _delays(status)
    yield from _log_problems(status)
    if status.redis.eviction:
        action = ErrorText("Set it to %(policy)s.", policy=SAFE_POLICY)
        yield Problem("redis-eviction", status.redis.eviction, None, action)


def _outages(status: "LogStatus") -> Iterator[Problem]:
    redis, since = status.redis, _failing_loops(status).get(REDIS_LOOP, (None,))[0]
    if status.database_error:
        what = ErrorText(
            "The database is not available or not migrated: %(error)s", error=status.database_error
        )
        action = ErrorText("Check the database server and DATABASES, and run `manage.py migrate`.")
        yield Problem("database-connection", what, None, action)
    if error := redis.error or ("" if status.database_error else status.archive.error):
        action = ErrorText("Check the Redis server and REDIS_URL.")
        yield Problem("redis-connection", error, since, action)
    elif redis.is_full:
        action = ErrorText(
            "Let process_events free what is archived; then raise maxmemory or delete keys."
        )
        yield Problem("redis-memory", redis.refusal, since, action)
    elif redis.refusal:
        action = ErrorText("Resolve the error that Redis returns.")
        yield Problem("redis-writes", redis.refusal, since, action)


def _failing_loops(status: "LogStatus") -> dict[str, tuple[datetime, str]]:
    """The loops that fail now: since when, by the database's clock, and the error."""
    failing = [
        (name, each.heartbeat_at - timedelta(seconds=loop["failing_seconds"]), loop["error"])
        for each in status.processors
        for name, loop in each.loops.items()
        if each.alive and loop.get("failing_seconds")
    ]
    return {name: (since, error) for name, since, error in sorted(failing, reverse=True)}


def _delays(status: "LogStatus") -> Iterator[Problem]:
    latest = status.at - timedelta(seconds=LATE_SECONDS)
    for name, (since, error) in _failing_loops(status).items():
        if since < latest:
            what = ErrorText(
                "The loop %(name)r of process_events fails: %(error)s.", name=name, error=error
            )
            action = ErrorText("Resolve the error; the loop continues by itself.")
            yield Problem("processor-loops", what, since, action)
    outbox = "outbox-lag", _NOT_APPENDED, status.outbox
    for code, what, lag in (outbox, ("archive-lag", _NOT_ARCHIVED, status.archive)):
        if lag.late:
            since = status.at - timedelta(seconds=lag.oldest_age or 0.0)
            action = ErrorText(
                "Check the load of the database and of Redis, or start another process_events."
            )
            yield Problem(code, what, since, action)


def _log_problems(status: "LogStatus") -> Iterator[Problem]:
    if status.stalled:
        first = status.stalled[0]
        what = ErrorText(
            "Stalled logs: %(count)d, first that of job %(job_id)s: %(error)s",
            count=status.stalled_count,
            job_id=first.job_id,
            error=first.error,
        )
        action = ErrorText("Resolve the error; the log continues by itself.")
        yield Problem("stalled-logs", what, first.since, action)
    if status.losses and status.losses[0].detected_at > status.at - RECENT_LOSS:
        last = status.losses[0]
        what = ErrorText(
            "Redis lost events. Gaps in 24 hours: %(count)d, last of %(job_id)s.",
            count=status.loss_count,
            job_id=last.job_id,
        )
        action = ErrorText(
            "Read --status for what is lost; check the persistence of Redis and who deletes keys."
        )
        yield Problem("lost-events", what, last.detected_at, action)
