"""Permissions of the Redis user: which commands of this package its ACL forbids. Does no I/O."""

import json
from typing import Any, Final

from events.codec import text_of
from events.streams import scripts
from events.streams.scripts import Command

# Arguments that Redis accepts as a command: `{stream}` and `{state}` are the keys of a job.
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
    "EVAL return 1 {stream}",
    "EVALSHA 0 1 {stream}",
    "SCAN 0",
    "TIME",
    "PING",
)
_OPTIONAL: Final = ("CLIENT UNBLOCK 1", "CONFIG GET save", "INFO", "TYPE {stream}")
OPTIONAL_COMMANDS: Final = frozenset(each.split()[0] for each in _OPTIONAL)


def permissions(keys: tuple[str, str]) -> Command:
    """Query which commands Redis refuses; `denied_of` decodes the reply."""
    stream, state = keys
    calls = [
        [word.replace("{stream}", stream).replace("{state}", state) for word in call.split()]
        for call in (*_REQUIRED, *_OPTIONAL)
    ]
    return scripts.PERMISSIONS.call(keys, [json.dumps(calls)])


def denied_of(reply: Any) -> tuple[list[str], list[str]]:
    """Return the refused commands: those that are required, and those that are optional."""
    denied = sorted(map(text_of, reply))
    required = [name for name in denied if name not in OPTIONAL_COMMANDS]
    return required, [name for name in denied if name in OPTIONAL_COMMANDS]
