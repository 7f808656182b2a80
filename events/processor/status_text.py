"""The status as text and as JSON, for `manage.py process_events --status` and the admin."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

from events.processor.lag import ArchiveLag
from events.processor.status import LogStatus, OutboxStatus, ProcessorStatus

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


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
        yield from _processor(processor, status.at)
    yield "outbox", outbox_text(status.outbox)
    yield "archive", archive_text(status.archive)
    yield "stalled logs", str(status.stalled_count)
    for stalled in status.stalled:
        since = f" since {_time(stalled.since)}" if stalled.since else ""
        yield "", f"{stalled.job_id}{since}: {stalled.error}"


def _processor(processor: ProcessorStatus, now: datetime) -> Iterator[tuple[str, str]]:
    age = duration_text((now - processor.heartbeat_at).total_seconds())
    state = "" if processor.alive else ", considered dead"
    started = _time(processor.started_at)
    yield "", f"{processor.name}, started {started}, last heartbeat {age} ago{state}"
    for name, loop in processor.loops.items():
        yield "", f"  {name:<11}{loop_text(loop)}"


def loop_text(loop: dict[str, Any]) -> str:
    """The stats of a loop in one line."""
    text = f"{_counted(loop['rounds'], 'round')}, {_counted(loop['events'], 'event')}"
    if loop["failures"]:
        last = "FAILING NOW" if loop["failing"] else "the last"
        text += f", {_counted(loop['failures'], 'failure')}, {last}: {loop['error']}"
    return text


def outbox_text(outbox: OutboxStatus) -> str:
    """The number of events in the outbox and the age of the oldest."""
    if not outbox.depth:
        return "empty"
    return f"{_counted(outbox.depth, 'event')}{_oldest(outbox.oldest_age)}"


def archive_text(archive: ArchiveLag) -> str:
    """The number of streams that are behind and the age of the oldest entry."""
    if archive.error:
        return f"unknown: {archive.error}"
    behind = f"{archive.behind} of {_counted(archive.streams or 0, 'stream')} behind"
    text = f"{behind}{_oldest(archive.oldest_age)}"
    return text if archive.complete else f"{text}; there are more streams"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun if count == 1 else noun + 's'}"


def _oldest(age: float | None) -> str:
    return "" if age is None else f", the oldest for {duration_text(age)}"


def duration_text(seconds: float) -> str:
    """A duration as one number and its unit."""
    for unit, length in (("d", _DAY), ("h", _HOUR), ("min", _MINUTE)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1f} s"


def _time(value: datetime) -> str:
    return f"{timezone.localtime(value):%Y-%m-%d %H:%M:%S %Z}"
