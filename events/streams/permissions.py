"""Permissions of the Redis user: which commands of this package its ACL forbids. Does no I/O."""

import json
from typing import Any, Final

from events.codec import text_of
from events.streams import scripts
from events.streams.keys import StreamKeys
from events.streams.scripts import Command

# Arguments that Redis accepts as a command: `{stream}` and `{state}` are the keys of a job,
# `{owner}` the key of the archive.
_REQUIRED: Final = (
    "XADD {stream} * field value",
    "XDEL {stream} 0-1",
    "XINFO STREAM {stream}",
    "XLEN {stream}",
    "XRANGE {stream} - +",
    "XREAD COUNT 1 STREAMS {stream} 0",
    "XREVRANGE {stream} + -",
    "XSETID {stream} 1-1",
    "XTRIM {stream} MAXLEN 0",
    "HDEL {state} field",
    "HEXISTS {state} field",
    "HGET {state} field",
    "HGETALL {state}",
    "HLEN {state}",
    "HMGET {state} field",
    "HSET {state} field value",
    "HSETNX {state} field value",
    "PERSIST {state}",
    "PEXPIRE {state} 1",
    "PTTL {state}",
    "DEL {state}",
    "EXISTS {state}",
    "UNLINK {state}",
    "GET {state}:watched",
    "SET {state}:watched 1",
    "GET {owner}",
    "SET {owner} id",
    "EVAL return 1 {stream}",
    "EVALSHA 0 1 {stream}",
    "SCAN 0",
    "TIME",
    "PING",
)
_OPTIONAL: Final = ("CLIENT UNBLOCK 1", "CONFIG GET save", "INFO", "TYPE {stream}")
OPTIONAL_COMMANDS: Final = frozenset(each.split()[0] for each in _OPTIONAL)


def permissions(keys: StreamKeys, job_id: str, channel: str) -> Command:
    """Query which commands Redis refuses; `denied_of` decodes the reply.

    `channel` is the Pub/Sub channel that events are mirrored to, or empty.
    """
    stream, state = keys.pair(job_id)
    names = {"{stream}": stream, "{state}": state, "{owner}": keys.owner}
    calls = [*_REQUIRED, *_OPTIONAL, *([f"PUBLISH {channel} message"] if channel else [])]
    words = [[_replaced(word, names) for word in call.split()] for call in calls]
    return scripts.PERMISSIONS.call((stream, state), [json.dumps(words)])


def _replaced(word: str, names: dict[str, str]) -> str:
    for name, key in names.items():
        word = word.replace(name, key)
    return word


def denied_of(reply: Any) -> tuple[list[str], list[str]]:
    """Return the refused commands: those that are required, and those that are optional."""
    denied = sorted(set(map(text_of, reply)))
    required = [name for name in denied if name not in OPTIONAL_COMMANDS]
    return required, [name for name in denied if name in OPTIONAL_COMMANDS]
