"""Producer state, appends of callers, and the numbered batches that are sent. Does no I/O.

An append is numbered (producer id, epoch, sequence). The append script recognises the last number
of a producer, so a batch may be sent again until it is acknowledged. The producer of a batch that
failed is abandoned: the batch may still arrive, and must stay the producer's last.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from time import monotonic
from typing import Any, Final

from events.codec import EncodedEvent
from events.exceptions import EventsError, RedisUnavailable, RetryExpired
from events.streams import commands
from events.streams.commands import Keys
from events.streams.scripts import Command, mirrored
from events.types import Cursor

# Redis keeps the state of a producer for twice as long; see STATE_MS in helpers.lua.
RETRY_SECONDS: Final = 3600.0
MAX_LAST_ACKED_JOBS: Final = 1000


@dataclass(slots=True)
class ProducerState:
    """A producer, its next sequence number, and the connection reserved for it."""

    id: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    sequence: int = 1
    connection: Any = None


@dataclass(slots=True, eq=False)
class AppendBatch:
    """A numbered command that appends the events of some callers to one job, all or none."""

    keys: Keys
    command: Command
    count: int
    last_sequence: int
    numbered_at: float
    ids: Sequence[str] = ()
    failed: bool = False


@dataclass(slots=True, eq=False)
class PendingAppend:
    """The events that one caller appends to a job. To users, an opaque handle for `retry`."""

    keys: Keys
    epoch: int
    events: Sequence[EncodedEvent]
    is_list: bool = False
    key_id: str = ""  # the producer id for an idempotency key
    channel: str = ""  # of Pub/Sub, to which the events are mirrored
    batch: AppendBatch | None = None
    first: int = 0  # the index of its first event in the batch
    error: EventsError | None = None
    done: Any = None  # the future that an async caller awaits

    @property
    def ids(self) -> list[str]:
        """The ids of the events; empty until they are acknowledged."""
        ids = self.batch.ids if self.batch else ()
        return list(ids[self.first : self.first + len(self.events)])

    def settle(self, error: EventsError | None = None) -> None:
        """Set the outcome and wake the caller."""
        if isinstance(error, RedisUnavailable):
            error = self.fail(RedisUnavailable(str(error)))
        self.error = error
        if self.done is not None and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: RedisUnavailable) -> RedisUnavailable:
        """Return the error with this append, to be retried."""
        if self.batch is not None:
            self.batch.failed = True
        error.pending = self
        return error


def retried(pending: object) -> PendingAppend:
    """Return a copy of an append that failed, to be sent again. Raises RetryExpired."""
    if not isinstance(pending, PendingAppend) or pending.batch is None:
        raise TypeError("retry takes the attribute `pending` of a RedisUnavailable from a publish.")
    if not pending.ids and monotonic() - pending.batch.numbered_at > RETRY_SECONDS:
        raise RetryExpired
    return replace(pending, error=None, done=None)


class LastAcked(dict[Keys, str]):
    """The last acknowledged append to each job, `<sequence> <id>` as in the state in Redis.

    New ids must be greater, also after Redis lost data and its clock went back.
    """

    def acknowledge(self, batch: AppendBatch, reply: commands.Reply) -> None:
        """Set the ids of a batch; store it, unless it was retried and a later one is stored."""
        batch.ids = commands.ids_of_append(reply, batch.count)
        last = self.get(batch.keys, "")
        if batch.failed and last and Cursor.parse(last.split()[1]) > Cursor.parse(batch.ids[-1]):
            return
        if len(self) >= MAX_LAST_ACKED_JOBS:
            self.clear()
        self[batch.keys] = f"{batch.last_sequence} {batch.ids[-1]}"


def number(
    appends: Sequence[PendingAppend], producer: ProducerState, last_acked: LastAcked
) -> AppendBatch:
    """Return appends to one job as one batch, with the next sequence numbers of the producer."""
    append = appends[0]
    events = append.events
    if len(appends) > 1:
        events = list(chain.from_iterable([each.events for each in appends]))
    numbered = append.key_id or producer.id, append.epoch, 1 if append.key_id else producer.sequence
    if not append.key_id:
        producer.sequence += len(events)
    command = commands.append(append.keys, numbered, last_acked.get(append.keys, ""), events)
    command = mirrored(command, append.channel)
    last = numbered[2] + len(events) - 1
    batch = AppendBatch(append.keys, command, len(events), last, monotonic())
    first = 0
    for each in appends:
        each.batch, each.first = batch, first
        first += len(each.events)
    return batch


def batches_of(
    appends: Iterable[PendingAppend], producer: ProducerState, last_acked: LastAcked
) -> dict[AppendBatch, list[PendingAppend]]:
    """Group appends: one batch for each job and epoch, and for each idempotency key.

    Appends that are retried keep their batches.
    """
    groups: dict[Any, list[PendingAppend]] = {}
    for append in appends:
        alike = append if append.key_id else (append.keys, append.epoch, append.channel)
        groups.setdefault(append.batch or alike, []).append(append)
    return {
        group[0].batch or number(group, producer, last_acked): group for group in groups.values()
    }
