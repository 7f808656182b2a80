"""Redis commands of the log as tuples, and decoders of their replies. Does no I/O."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from events.codec import EncodedEvent, decode_entry, text_of
from events.exceptions import RedisCommandError
from events.streams import scripts
from events.streams.scripts import Command
from events.types import START, Cursor, Event, Order

# A job's stream and its state; see `StreamKeys.pair`.
Keys = tuple[str, str]
# Producer id, epoch, and the sequence of the first event.
ProducerSequence = tuple[str, int, int]
Reply = Any

NO_STREAM: Final = "no such key"


_KEY_INDEXES: Final = {"EVALSHA": 3, "EVAL": 3, "XINFO": 2}


def key_of(command: Command) -> str | None:
    """Return the key that selects the node of a cluster; None for a command without keys."""
    if len(command) == 1:
        return None
    index = command.index("STREAMS") + 1 if command[0] == "XREAD" else None
    return str(command[index or _KEY_INDEXES.get(str(command[0]), 1)])


def append(
    keys: Keys, producer: ProducerSequence, floor: str, events: Sequence[EncodedEvent]
) -> Command:
    """Append events, all or none; sent again, it returns the ids of the first time.

    `floor` is the `<sequence> <id>` that the process acknowledged last for this job, or empty: new
    ids are greater. `ids_of_append` decodes the reply.
    """
    if len(events) == 1:
        data, timestamp, event_type = events[0]
        return (
            "EVALSHA", scripts.APPEND.sha, 2, *keys,
            *producer, floor, 1, timestamp, event_type, data,
        )  # fmt: skip
    return scripts.APPEND.call(keys, _append_arguments(producer, floor, events))


def append_in_order(
    keys: Keys, producer: ProducerSequence, events: Sequence[EncodedEvent]
) -> Command:
    """Append events of a producer that numbers them itself; see `append`."""
    return scripts.APPEND_IN_ORDER.call(keys, _append_arguments(producer, "", events))


def _append_arguments(
    producer: ProducerSequence, floor: str, events: Sequence[EncodedEvent]
) -> list[str | bytes | int]:
    """Consecutive events with the same timestamp and type have these once."""
    arguments: list[str | bytes | int] = [*producer, floor]
    data, timestamps, types = zip(*events, strict=True)
    if timestamps.count(timestamps[0]) == types.count(types[0]) == len(events):
        return [*arguments, len(data), timestamps[0], types[0], *data]
    for (timestamp, event_type), run in groupby(events, itemgetter(1, 2)):
        data = tuple(event[0] for event in run)
        arguments += [len(data), timestamp, event_type, *data]
    return arguments


def ids_of_append(reply: Reply, count: int) -> list[str]:
    """Decode the reply to an append of `count` events."""
    if count == 1:
        return [text_of(reply)]
    first, last = map(Cursor.parse, map(text_of, reply))
    if (last.ms, last.seq) != (first.ms, first.seq + count - 1):
        raise RedisCommandError(f"Redis gave a batch of {count} the ids {first} to {last}.")
    return [f"{first.ms}-{seq}" for seq in range(first.seq, last.seq + 1)]


class OutboxEvent(NamedTuple):
    """An event of the outbox, as it is sent to Redis."""

    sequence: int
    epoch: int
    timestamp: str
    event_type: str
    data: str


def outbox_state(keys: Keys) -> Command:
    """Read the last appended event of the outbox; `outbox_end` decodes the reply."""
    return scripts.OUTBOX_STATE.call(keys, ())


def outbox_append(
    keys: Keys,
    expected: int | None,
    floor: str,
    events: Sequence[OutboxEvent],
    *,
    archived: bool = True,
) -> Command:
    """Append events with consecutive sequences if the last appended one is still `expected`.

    Unless that event is known to be `archived`, its id must be greater than `floor`.
    """
    last = "" if expected is None else expected
    arguments: list[str | bytes | int] = [last, events[0].sequence, floor, int(archived)]
    for event in events:
        arguments += event[1:]
    return scripts.OUTBOX_APPEND.call(keys, arguments)


def outbox_end(reply: Reply) -> tuple[int, Cursor] | None:
    """Decode the sequence and the id of the last appended event; None if there is none."""
    sequence, event_id = map(text_of, reply)
    return (int(sequence), Cursor.parse(event_id)) if sequence else None


def trim(keys: Keys, archived: Cursor, *, inclusive: bool = False) -> Command:
    """Remove entries before `archived`; everything up to there is in the archive.

    `inclusive` removes all of them, and that entry; otherwise only whole nodes are removed.
    """
    return scripts.TRIM.call(keys, (str(archived), int(inclusive)))


def expire(keys: Keys, position: Cursor, milliseconds: int) -> Command:
    """Set the time to live of a stream that is archived to its end."""
    return scripts.EXPIRE.call(keys, (str(position), milliseconds))


def erase(keys: Keys, milliseconds: int) -> Command:
    """Remove a stream; refuse appends to it for that time."""
    return scripts.ERASE.call(keys, (milliseconds,))


def resequence(
    keys: Keys, position: Cursor, rewound: str, last: Cursor, ids: Iterable[str]
) -> Command:
    """Append entries below the archive checkpoint again above it, if `last` is still the end."""
    return scripts.RESEQUENCE.call(keys, (str(position), rewound, str(last), *ids))


def state_fields(keys: Keys) -> Command:
    """Read the fields `rewound`, `missing` and `trimmed` of the state."""
    return ("HMGET", keys[1], "rewound", "missing", "trimmed")


def forget_missing(keys: Keys) -> Command:
    """Remove the field `missing` of the state."""
    return ("HDEL", keys[1], "missing")


def length(key: str) -> Command:
    """Count the entries of a stream; 0 without one."""
    return ("XLEN", key)


def info(key: str) -> Command:
    """Describe a stream; without one, the error reply contains NO_STREAM."""
    return ("XINFO", "STREAM", key)


def fields_of_info(reply: Reply) -> dict[str, Any]:
    """Decode the reply to `info`, whether redis-py has parsed it or not."""
    pairs = reply.items() if isinstance(reply, Mapping) else zip(*[iter(reply)] * 2, strict=True)
    return {text_of(name): value for name, value in pairs}


def hello() -> Command:
    """Describe the connection; no ACL forbids it."""
    return ("HELLO",)


def id_and_role(reply: Reply) -> tuple[int, str]:
    """Decode the connection's id and the role of its Redis, `master` or `replica`.

    A Sentinel has no role.
    """
    fields = fields_of_info(reply)
    return int(fields["id"]), text_of(fields.get("role", ""))


def scan(cursor: str, pattern: str, count: int, *, any_type: bool = False) -> Command:
    """Find keys of streams, or of any type."""
    scan = ("SCAN", cursor, "MATCH", pattern, "COUNT", count)
    return scan if any_type else (*scan, "TYPE", "stream")


def scanned(reply: Reply) -> tuple[str, list[str]]:
    """Return the next cursor, `0` at the end, and the keys."""
    cursor, names = reply
    return text_of(cursor), [text_of(name) for name in names]


def xrange(
    key: str, *, after: Cursor | None, before: Cursor | None, limit: int, order: Order
) -> Command | None:
    """Read the entries between two cursors, both exclusive; None if there can be none."""
    first = after.next() if after else START
    last = before.previous() if before else "+"
    if first is None or last is None:
        return None
    if order == "asc":
        return ("XRANGE", key, str(first), str(last), "COUNT", limit)
    return ("XREVRANGE", key, str(last), str(first), "COUNT", limit)


def entry(key: str, event_id: Cursor) -> Command:
    """Read one entry; the reply is empty without it."""
    return ("XRANGE", key, str(event_id), str(event_id))


def events_of_xrange(job_id: str, reply: Reply) -> list[Event]:
    """Decode the entries of one stream."""
    return [decode_entry(job_id, entry_id, fields) for entry_id, fields in reply]


def xread(positions: Mapping[str, Cursor], limit: int) -> Command:
    """Read up to `limit` entries after a position, for each of several streams by key."""
    return ("XREAD", "COUNT", limit, "STREAMS", *positions, *map(str, positions.values()))


def xread_block(positions: Mapping[str, Cursor], limit: int, block: int) -> Command:
    """Same as `xread`, waiting up to `block` milliseconds for the first entry."""
    ids = map(str, positions.values())
    return ("XREAD", "COUNT", limit, "BLOCK", block, "STREAMS", *positions, *ids)


def entries_of_xread(reply: Reply) -> dict[str, Any]:
    """Decode the reply to `xread`: entries by key."""
    streams = reply.items() if isinstance(reply, Mapping) else reply or ()
    return {text_of(key): _flattened(entries) for key, entries in streams}


def _flattened(entries: Any) -> Any:
    """With RESP3, redis-py wraps the entries of a stream in one more list."""
    return entries if not entries or isinstance(entries[0][0], (bytes, str)) else entries[0]
