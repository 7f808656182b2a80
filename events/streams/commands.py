"""The Redis commands of the log, as tuples, and what Redis answers to them. Does no I/O."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from events.codec import EncodedEvent, decode_entry, text_of
from events.exceptions import RedisCommandError
from events.streams import scripts
from events.streams.scripts import Command
from events.types import START, Cursor, Event, Order

Keys = tuple[str, str]
# The id of a producer, its epoch, and the sequence of an event.
Numbered = tuple[str, int, int]
# What Redis answers to an append: the first and the last id; of one event, its id.
Reply = Any

PING: Final[Command] = ("PING",)
CLIENT_ID: Final[Command] = ("CLIENT", "ID")
TIME: Final[Command] = ("TIME",)
NO_STREAM: Final = "no such key"


def append(
    keys: Keys, producer: Numbered, floor: str, timestamp: str, event_type: str, data: bytes
) -> Command:
    """Append one event; see `append_many`, of which this is the short way for the usual case."""
    return (
        "EVALSHA", scripts.APPEND.sha, 2, *keys,
        *producer, floor, 1, timestamp, event_type, data,
    )  # fmt: skip


def append_many(
    keys: Keys, producer: Numbered, floor: str, events: Sequence[EncodedEvent]
) -> Command:
    """Append events in one round trip, all or none, or recognise that they were appended before.

    `producer` is that of the first; the sequences of the others follow. New ids will be above that
    of `floor`, `<sequence> <id>`, if it is not empty. Redis answers as `ids_of_batch` reads it.
    """
    return scripts.APPEND.call(keys, _appended(producer, floor, events))


def append_in_order(keys: Keys, producer: Numbered, events: Sequence[EncodedEvent]) -> Command:
    """As `append_many`, of a producer that counts by itself."""
    return scripts.APPEND_IN_ORDER.call(keys, _appended(producer, "", events))


def _appended(
    producer: Numbered, floor: str, events: Sequence[EncodedEvent]
) -> list[str | bytes | int]:
    arguments: list[str | bytes | int] = [*producer, floor]
    for timestamp, event_type, data in _runs(events):
        arguments += [len(data), timestamp, event_type, *data]
    return arguments


def _runs(events: Sequence[EncodedEvent]) -> Iterator[tuple[str, str, Sequence[bytes]]]:
    """The events in runs that are alike in timestamp and type."""
    data, timestamps, types = zip(*events, strict=True)
    if timestamps.count(timestamps[0]) == types.count(types[0]) == len(events):
        yield timestamps[0], types[0], data
        return
    for (timestamp, event_type), run in groupby(events, itemgetter(1, 2)):
        yield timestamp, event_type, [event[0] for event in run]


def ids_of_batch(reply: Reply, count: int) -> list[str]:
    """The ids of a batch of `count` events, from what Redis answers to `append_many`."""
    if count == 1:
        return [text_of(reply)]
    first, last = map(Cursor.parse, map(text_of, reply))
    if (last.ms, last.seq) != (first.ms, first.seq + count - 1):
        raise RedisCommandError(f"Redis gave a batch of {count} the ids {first} to {last}.")
    return [f"{first.ms}-{seq}" for seq in range(first.seq, last.seq + 1)]


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """An event of the outbox, as Redis is given it."""

    sequence: int
    epoch: int
    timestamp: str
    event_type: str
    data: str


def outbox_state(keys: Keys) -> Command:
    """Ask what of the outbox was appended last; see `outbox_end`."""
    return scripts.OUTBOX_STATE.call(keys, ())


def outbox_append(
    keys: Keys,
    expected: int | None,
    floor: str,
    events: Sequence[OutboxEvent],
    *,
    archived: bool = True,
) -> Command:
    """Append events whose numbers follow each other, if `expected` still is the last number.

    If that one may be not `archived`, it does not count when it is not above `floor`.
    """
    last = "" if expected is None else expected
    arguments: list[str | bytes | int] = [last, events[0].sequence, floor, int(archived)]
    for event in events:
        arguments += [event.epoch, event.timestamp, event.event_type, event.data]
    return scripts.OUTBOX_APPEND.call(keys, arguments)


def outbox_end(reply: Reply) -> tuple[int, Cursor] | None:
    """The number of the outbox that was appended last, and its id; None if Redis knows of none."""
    number, event_id = map(text_of, reply)
    return (int(number), Cursor.parse(event_id)) if number else None


def trim(keys: Keys, archived: Cursor) -> Command:
    """Remove entries up to an id up to which everything is in the archive."""
    return scripts.TRIM.call(keys, (str(archived),))


def expire(keys: Keys, position: Cursor, milliseconds: int) -> Command:
    """Give a stream that is archived to its end a time to live."""
    return scripts.EXPIRE.call(keys, (str(position), milliseconds))


def resequence(
    keys: Keys, position: Cursor, raised: str, last: Cursor, ids: Iterable[str]
) -> Command:
    """Append entries up to the position anew, above it, if the stream still ends at `last`."""
    return scripts.RESEQUENCE.call(keys, (str(position), raised, str(last), *ids))


def raised(keys: Keys) -> Command:
    """Ask up to where there may be entries that came after the position, but are below it."""
    return ("HGET", keys[1], "raised")


def exists(key: str) -> Command:
    """Ask whether there is anything under a key; answers 1 or 0."""
    return ("EXISTS", key)


def length(key: str) -> Command:
    """Count the entries of a stream; 0 where there is none."""
    return ("XLEN", key)


def info(key: str) -> Command:
    """Describe a stream; Redis refuses with `no such key` where there is none."""
    return ("XINFO", "STREAM", key)


def fields_of_info(reply: Any) -> dict[str, Any]:
    """What Redis answers to `info`, by name, whether redis-py has parsed it or not."""
    pairs = reply.items() if isinstance(reply, Mapping) else zip(*[iter(reply)] * 2, strict=True)
    return {text_of(name): value for name, value in pairs}


def delete(key: str, ids: Iterable[str]) -> Command:
    """Remove entries."""
    return ("XDEL", key, *ids)


def scan(cursor: str, pattern: str, count: int) -> Command:
    """Find keys of streams."""
    return ("SCAN", cursor, "MATCH", pattern, "COUNT", count, "TYPE", "stream")


def scanned(reply: Any) -> tuple[str, list[str]]:
    """The cursor to go on from, `0` at the end, and the keys that Redis answers to `scan`."""
    cursor, names = reply
    return text_of(cursor) if isinstance(cursor, (bytes, str)) else str(cursor), [
        text_of(name) for name in names
    ]


def xrange(
    key: str, *, after: Cursor | None, before: Cursor | None, limit: int, order: Order
) -> Command | None:
    """Read the entries between two cursors, both exclusive; None where there can be none."""
    first = after.next() if after else START
    last = before.previous() if before else "+"
    if first is None or last is None:
        return None
    if order == "asc":
        return ("XRANGE", key, str(first), str(last), "COUNT", limit)
    return ("XREVRANGE", key, str(last), str(first), "COUNT", limit)


def entry(key: str, event_id: Cursor) -> Command:
    """Read one entry, if it is there."""
    return ("XRANGE", key, str(event_id), str(event_id))


def xread_block(positions: Mapping[str, Cursor], limit: int, block: int) -> Command:
    """As `tails`, waiting up to `block` milliseconds for the first entry."""
    ids = map(str, positions.values())
    return ("XREAD", "COUNT", limit, "BLOCK", block, "STREAMS", *positions, *ids)


def unblock(connection_id: int) -> Command:
    """End another connection's waiting as if its time were over; answers whether it waited."""
    return ("CLIENT", "UNBLOCK", connection_id)


def xread(positions: Mapping[str, Cursor], limit: int) -> Command:
    """Read up to `limit` entries of each of several streams, by key, after a position."""
    return ("XREAD", "COUNT", limit, "STREAMS", *positions, *map(str, positions.values()))


def events_of_xrange(job_id: str, reply: Any) -> list[Event]:
    """Decode what Redis answers to `page`."""
    return [decode_entry(job_id, entry_id, fields) for entry_id, fields in reply]


def entries_of_xread(reply: Any) -> dict[str, Any]:
    """The entries that Redis answers to `tails`, by key; the form depends on the protocol."""
    streams = reply.items() if isinstance(reply, Mapping) else reply or ()
    return {text_of(key): _flat(entries) for key, entries in streams}


def _flat(entries: Any) -> Any:
    """With RESP3, redis-py wraps the entries of a stream in one more list."""
    return entries if not entries or isinstance(entries[0][0], (bytes, str)) else entries[0]
