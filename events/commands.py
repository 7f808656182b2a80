"""The Redis commands of the log, as tuples. Does no I/O."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from events.codec import EncodedEvent, decode_entry, text_of
from events.exceptions import RedisRefused
from events.types import Cursor, Event, Order

Command = tuple[str | bytes | int, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the digest by which Redis knows it."""

    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)

    def call(self, key: str, arguments: Iterable[str | bytes | int]) -> Command:
        """Run the script that Redis has; it answers NOSCRIPT if it has it not."""
        return ("EVALSHA", self.sha, 1, key, *arguments)

    def send(self, called: Command) -> Command:
        """The command `called`, with the script's source in place of its digest."""
        return ("EVAL", self.source, *called[2:])


# The arguments are runs of events alike in timestamp and type, as most batches are: how many, the
# timestamp, the type, and the data of each; half of what a batch costs is the number of arguments.
# Within a script time stands still, so the ids of a batch follow each other without a gap and the
# first and the last say all; entries of others cannot come between.
APPEND_MANY: Final = Script("""\
local call, key, argv = redis.call, KEYS[1], ARGV
local first, last
local start = 1
while start < #argv do
    local stop, timestamp, event_type = start + 2 + argv[start], argv[start + 1], argv[start + 2]
    for i = start + 3, stop do
        last = call('XADD', key, '*',
            'data', argv[i], 'timestamp', timestamp, 'event_type', event_type)
        first = first or last
    end
    start = stop + 1
end
return {first, last}
""")


def append(key: str, event: EncodedEvent) -> Command:
    """Append one event; Redis answers its id."""
    data, timestamp, event_type = event
    return ("XADD", key, "*", "data", data, "timestamp", timestamp, "event_type", event_type)


def append_many(key: str, events: Iterable[EncodedEvent]) -> Command:
    """Append events in one round trip, all or none; see `ids_of_batch` for what Redis answers."""
    arguments: list[str | bytes | int] = []
    for (timestamp, event_type), run in groupby(events, itemgetter(1, 2)):
        data = [event[0] for event in run]
        arguments += [len(data), timestamp, event_type, *data]
    return APPEND_MANY.call(key, arguments)


def ids_of_batch(reply: Sequence[str | bytes], count: int) -> list[str]:
    """The ids of a batch of `count` events, from what Redis answers to `append_many`."""
    first, last = map(Cursor.parse, map(text_of, reply))
    if (last.ms, last.seq) != (first.ms, first.seq + count - 1):
        raise RedisRefused(f"Redis gave a batch of {count} the ids {first} to {last}.")
    return [f"{first.ms}-{seq}" for seq in range(first.seq, last.seq + 1)]


def length(key: str) -> Command:
    """Count the entries of a stream; 0 where there is none."""
    return ("XLEN", key)


def info(key: str) -> Command:
    """Describe a stream; Redis refuses with `no such key` where there is none."""
    return ("XINFO", "STREAM", key)


def page(
    key: str, *, after: Cursor | None, before: Cursor | None, limit: int, order: Order
) -> Command | None:
    """Read the entries between two cursors, both exclusive; None where there can be none."""
    first = after.next() if after else Cursor(0, 0)
    last = before.previous() if before else "+"
    if first is None or last is None:
        return None
    if order == "asc":
        return ("XRANGE", key, str(first), str(last), "COUNT", limit)
    return ("XREVRANGE", key, str(last), str(first), "COUNT", limit)


def tail(key: str, *, after: Cursor, limit: int, block: int | None) -> Command:
    """Read the entries after a cursor, waiting up to `block` milliseconds for the first."""
    wait: Command = ("BLOCK", block) if block is not None else ()
    return ("XREAD", "COUNT", limit, *wait, "STREAMS", key, str(after))


def entries_of_page(job_id: str, reply: Any) -> list[Event]:
    """Decode what Redis answers to `page`."""
    return [decode_entry(job_id, entry_id, fields) for entry_id, fields in reply]


def entries_of_tail(job_id: str, reply: Any) -> list[Event]:
    """Decode what Redis answers to `tail` for its one stream; the form depends on the protocol."""
    streams = reply.values() if isinstance(reply, Mapping) else [entries for _, entries in reply]
    return [event for entries in streams for event in entries_of_page(job_id, _flat(entries))]


def _flat(entries: Any) -> Any:
    """With RESP3, redis-py wraps the entries of a stream in one more list."""
    return entries[0] if entries and isinstance(entries[0], list) else entries
