"""The relay: appends committed events of the outbox to the streams.

Several relays may run at once and stop anywhere: a script appends a job's events in the order of
their sequence, and only if the stream's last outbox event is still the one that the relay read.
"""

import logging
from datetime import timedelta
from typing import Final

from django.db.models import Q

from events.archive.store import logs_in_outbox, report_error
from events.conf import event_settings
from events.exceptions import EventsError, RedisNotWritable, RedisUnavailable
from events.metrics.instruments import PUBLISHED
from events.models import ArchivedEvent
from events.streams import commands
from events.streams.clients import get_redis, send_command
from events.streams.commands import OutboxEvent
from events.streams.keys import StreamKeys
from events.streams.pubsub import mirror_channel
from events.streams.scripts import mirrored
from events.types import START, Cursor, Producer

logger = logging.getLogger(__name__)

MAX_BATCH_EVENTS: Final = 200
MAX_STEP_LOGS: Final = 500
# The committing process appends at once; the relay takes what is older.
MIN_AGE: Final = timedelta(seconds=1)


def append_pending(job_id: str) -> int:
    """Append the committed events of a job that are not in its stream; return their number.

    Raises RedisUnavailable, NotAStream, RedisCommandError.
    """
    keys = StreamKeys(event_settings.STREAM_PREFIX).pair(job_id)
    client, appended = get_redis(), 0
    while True:
        # Redis is read first, so that the rows are not older than the stream.
        end = commands.outbox_end(send_command(client, commands.outbox_state(keys)))
        position, events = _pending(job_id, end)
        if not events:
            return appended
        command = commands.outbox_append(keys, end and end[0], str(position), events)
        reply = send_command(client, mirrored(command, mirror_channel(job_id)))
        if reply[1]:  # empty if another process appended, or Redis lost data: read again
            appended += len(events)
            PUBLISHED.add(len(events), "outbox")


def _pending(job_id: str, end: tuple[int, Cursor] | None) -> tuple[Cursor, list[OutboxEvent]]:
    """Return the archive checkpoint and the first events to append, without a gap.

    An appended event is archived once the checkpoint has passed its id. If the checkpoint has
    passed it and the row has no id, Redis was restored to an older state: it is appended again.
    """
    sequence, last = end or (0, START)
    rows = ArchivedEvent.objects.filter(log__job_id=job_id, event_id=None)
    # One statement reads events and checkpoint of the same moment.
    rows = rows.filter(Q(sequence__gt=sequence) | Q(log__archived__position__gte=last))
    columns = ("log__archived__position", "producer", "sequence")
    fields = ("timestamp", "event_type", "data")
    found = list(rows.order_by("sequence").values_list(*columns, *fields)[:MAX_BATCH_EVENTS])
    events = [
        OutboxEvent(number or 0, _epoch_of(producer), *values)
        for _, producer, number, *values in found
    ]
    position, first = (found[0][0], events[0].sequence) if found else (None, 0)
    consecutive = [event for number, event in enumerate(events, first) if event.sequence == number]
    return position or START, consecutive


def _epoch_of(producer: str | None) -> int:
    parsed = Producer.parse(producer or "")
    return parsed.epoch if parsed else 0


class Relay:
    """Appends the pending events of all jobs, in steps of MAX_STEP_LOGS jobs."""

    def __init__(self) -> None:
        self._after = 0

    def step(self) -> int:
        """Append the due events of the next jobs; return their number.

        Raises RedisUnavailable, RedisNotWritable and django.db.Error. If Redis refuses the events
        of one job, the error is stored with its archive checkpoint and the other jobs proceed.
        """
        logs = logs_in_outbox(self._after, limit=MAX_STEP_LOGS, min_age=MIN_AGE)
        self._after = logs[-1][0] if len(logs) == MAX_STEP_LOGS else 0
        return sum(self._append(*log) for log in logs)

    def _append(self, log_id: int, job_id: str) -> int:
        try:
            appended = append_pending(job_id)
        except (RedisUnavailable, RedisNotWritable):
            raise
        except EventsError as error:
            report_error(log_id, job_id, error)
            return 0
        if appended:
            logger.info("outbox_relayed", extra={"job_id": job_id, "events": appended})
        return appended
