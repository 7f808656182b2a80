"""The relay: appends what stands in the outbox to the streams.

Everybody may run it at any time, several at once, and be stopped at any line: Redis appends a
job's events strictly by their number, and only if it stands where the caller saw it stand.
"""

import logging
from datetime import timedelta
from itertools import count, takewhile
from typing import Final

from django.db.models import Q
from django.utils import timezone

from events.archive.store import logs_in_outbox, report_error
from events.conf import event_settings
from events.exceptions import EventsError, RedisUnavailable
from events.models import ArchivedEvent
from events.streams import commands
from events.streams.clients import ask_once, get_redis
from events.streams.commands import OutboxEvent
from events.streams.keys import StreamKeys
from events.types import START, Cursor, Producer

logger = logging.getLogger(__name__)

_BATCH: Final = 200
_LOGS: Final = 500
# Whoever commits appends at once; the relay is for what is left.
_GRACE: Final = timedelta(seconds=1)


def append_pending(job_id: str) -> int:
    """Append all events of a job that stand in the outbox only; returns how many.

    Raises RedisUnavailable, NotAStream, RedisCommandError.
    """
    keys = StreamKeys(event_settings.STREAM_PREFIX).pair(job_id)
    client, appended = get_redis(), 0
    while True:
        # What Redis says must be older than what the database does.
        end = commands.outbox_end(ask_once(client, commands.outbox_state(keys)))
        position, events = _pending(job_id, end)
        if not events:
            return appended
        command = commands.outbox_append(keys, end and end[0], floor(position), events)
        reply = ask_once(client, command)
        if reply[1]:  # else somebody else was first, or Redis has lost what it had: look again
            appended += len(events)


def _pending(
    job_id: str, end: tuple[int, Cursor] | None
) -> tuple[Cursor | None, list[OutboxEvent]]:
    """The archive's position, and the first events, without a gap, that are to be appended.

    What was appended is archived once the position is past it. If it is not, Redis was set back
    to it after the archive had gone on: nobody reads it, and it is to be appended anew.
    """
    past, last = end or (0, START)
    waiting = ArchivedEvent.objects.filter(log__job_id=job_id, event_id=None)
    # One statement sees the rows and the position as they were at one time.
    waiting = waiting.filter(Q(sequence__gt=past) | Q(log__archived__position__gte=last))

    columns = ("log__archived__position", "sequence", "producer")
    what = ("timestamp", "event_type", "data")
    rows = list(waiting.order_by("sequence").values_list(*columns, *what)[:_BATCH])
    events = [OutboxEvent(number or 0, _epoch(who), *rest) for _, number, who, *rest in rows]
    numbers = count(events[0].sequence if events else 0)
    pairs = takewhile(lambda pair: pair[0].sequence == pair[1], zip(events, numbers, strict=False))
    return rows[0][0] if rows else None, [event for event, _ in pairs]


def _epoch(producer: str | None) -> int:
    parsed = Producer.parse(producer or "")
    return parsed.epoch if parsed else 0


def floor(position: Cursor | None) -> str:
    """The last id that is in the archive: a Redis that has lost it must not give lower ones."""
    return str(position) if position and position != START else ""


class Relay:
    """Goes through the outbox again and again, some hundred jobs in a round."""

    def __init__(self) -> None:
        self._after = 0

    def step(self) -> int:
        """Append what is due of the next jobs; returns how many events.

        Raises RedisUnavailable and django.db.Error; a log that Redis refuses is reported, and
        holds up nobody else.
        """
        due = timezone.now() - _GRACE
        logs = logs_in_outbox(self._after, limit=_LOGS, before=due)
        self._after = logs[-1][0] if len(logs) == _LOGS else 0
        return sum(self._append(*log) for log in logs)

    def _append(self, log_id: int, job_id: str) -> int:
        try:
            appended = append_pending(job_id)
        except RedisUnavailable:
            raise
        except EventsError as error:
            report_error(log_id, job_id, error)
            return 0
        if appended:
            logger.info("outbox_relayed", extra={"job_id": job_id, "events": appended})
        return appended
