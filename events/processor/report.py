"""The status as text and as JSON."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone
from django.utils.translation import gettext_noop

from events.database import aware_time, write_connection
from events.error_text import ErrorText
from events.processor.lag import ArchiveLag
from events.processor.problems import Problem
from events.processor.status import LogLoss, LogStatus, OutboxStatus
from events.streams.memory import RedisMemory

MAX_PROBLEM_LINES: Final = 3
_NOUNS: Final = {
    "round": (gettext_noop("%(count)d round"), gettext_noop("%(count)d rounds")),
    "event": (gettext_noop("%(count)d event"), gettext_noop("%(count)d events")),
    "failure": (gettext_noop("%(count)d failure"), gettext_noop("%(count)d failures")),
}
MIB: Final = 1024 * 1024
_UNIT_SECONDS: Final = (("d", 86_400), ("h", 3_600), ("min", 60))


class _StatusEncoder(DjangoJSONEncoder):
    """JSON with offsets of all times."""

    def default(self, o: Any) -> Any:
        return super().default(aware_time(o) if isinstance(o, datetime) else o)


def status_json(status: LogStatus) -> str:
    """The status as JSON; times are ISO 8601, ages are seconds, memory is bytes."""
    problems = [{**asdict(each), "runbook": each.runbook} for each in status.problems]
    data = {"healthy": not problems, "problems": problems, **asdict(status)}
    return json.dumps(data, cls=_StatusEncoder, indent=2)


def status_table(status: LogStatus) -> str:
    """The status as text: at most MAX_PROBLEM_LINES with problems, then a table."""
    table = [f"{name:<15}{text}".rstrip() for name, text in _rows(status)]
    return "\n".join([*_problem_lines(status), "", *table])


def _problem_lines(status: LogStatus) -> list[str]:
    problems = status.problems
    lines = [problem_line(problem, status.at) for problem in problems[:MAX_PROBLEM_LINES]]
    if len(problems) > MAX_PROBLEM_LINES:
        lines[-1] += f" ({_counted(len(problems) - MAX_PROBLEM_LINES, 'more problem')})"
    return lines or ["Everything is processed."]


def problem_line(problem: Problem, now: datetime) -> str:
    """What is wrong, since when, and what to do, in one line."""
    parts = [" ".join(problem.what.split())]
    if problem.since is not None:
        age = duration_text(max((now - problem.since).total_seconds(), 0.0))
        parts.append(f"Since {time_text(problem.since)}, for {age}.")
    return " ".join([*parts, problem.action])


def _rows(status: LogStatus) -> Iterator[tuple[str, str]]:
    yield "process_events", "running" if status.running else "NOT RUNNING"
    for processor in status.processors:
        age = duration_text((status.at - processor.heartbeat_at).total_seconds())
        state = "" if processor.alive else ", considered dead"
        started = time_text(processor.started_at)
        yield "", f"{processor.name}, started {started}, last heartbeat {age} ago{state}"
        for name, loop in processor.loops.items():
            yield "", f"  {name:<12}{loop_text(loop)}"
    yield "database", status.database_error or f"{write_connection().vendor}, responds"
    yield "redis", redis_text(status.redis)
    yield "outbox", outbox_text(status.outbox)
    yield "archive", archive_text(status.archive)
    yield "stalled logs", str(status.stalled_count)
    for stalled in status.stalled:
        since = f" since {time_text(stalled.since)}" if stalled.since else ""
        yield "", f"{stalled.job_id}{since}: {stalled.error}"
    yield "lost events", f"{_counted(status.loss_count, 'gap')} in 24 hours"
    for loss in status.losses:
        yield "", f"{loss.job_id} at {time_text(loss.detected_at)}: {loss_text(loss)}"


def loop_text(loop: dict[str, Any]) -> ErrorText:
    """The stats of a loop in one line."""
    stats = ErrorText(
        "%(rounds)s, %(events)s",
        rounds=_number(loop["rounds"], "round"),
        events=_number(loop["events"], "event"),
    )
    if not loop["failures"]:
        return stats
    return ErrorText(
        "%(stats)s, %(failures)s, %(last)s: %(error)s",
        stats=stats,
        failures=_number(loop["failures"], "failure"),
        last=ErrorText("FAILING NOW") if loop["failing"] else ErrorText("the last"),
        error=loop["error"],
    )


def _number(count: int, noun: str) -> ErrorText:
    return ErrorText(_NOUNS[noun][count != 1], count=count)


def redis_text(redis: RedisMemory) -> str:
    """Memory and state of Redis in one line."""
    if redis.error:
        return f"unknown: {redis.error}"
    memory = f"{redis.used / MIB:.1f} MiB"
    if redis.limit:
        memory += f" of {redis.limit / MIB:.1f} MiB ({redis.used / redis.limit:.0%})"
    refusal = f", REFUSES EVENTS: {redis.refusal}" if redis.refusal else ""
    return f"{memory}, {redis.policy or 'unknown maxmemory-policy'}{refusal}"


def loss_text(loss: LogLoss) -> ErrorText:
    """The interval of a loss, and the ids that are known."""
    known = ErrorText("unknown number")
    if loss.ids:
        count, last = len(loss.ids), loss.ids[-1]
        known = ErrorText("%(count)d or more, up to %(last)s", count=count, last=last)
    return ErrorText(
        "between %(after)s and %(before)s, %(known)s",
        after=str(loss.after),
        before=loss.before or ErrorText("the next event"),
        known=known,
    )


def outbox_text(outbox: OutboxStatus) -> str:
    """Number and age of the events in the outbox, in one line."""
    if outbox.depth is None:
        return "unknown"
    depth = f"{_counted(outbox.depth, 'event')}{_oldest_text(outbox.oldest_age)}"
    return depth if outbox.depth else "empty"


def archive_text(archive: ArchiveLag) -> str:
    """Number and age of the streams that are not archived, in one line."""
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


def time_text(value: datetime) -> str:
    """Return a time with seconds and zone, in the time zone of Django."""
    return f"{timezone.localtime(aware_time(value)):%Y-%m-%d %H:%M:%S %Z}"
