"""The Lua scripts of `lua/`, which Redis runs atomically, and their digests.

A script is `helpers.lua` followed by its own files. All of them take two keys: a job's stream and
its state; `helpers.lua` describes the fields of the state.
"""

import hashlib
from collections.abc import Iterable
from importlib.resources import files
from typing import Final, NamedTuple

Command = tuple[str | bytes | int, ...]

_sources: dict[str, str] = {}


class Script(NamedTuple):
    """A Lua script, and the digest that identifies it in Redis."""

    source: str
    sha: str

    def call(self, keys: tuple[str, str], arguments: Iterable[str | bytes | int]) -> Command:
        """Return the call of the script; the reply is NOSCRIPT if Redis does not have it."""
        return ("EVALSHA", self.sha, 2, *keys, *arguments)


def _load(*names: str, flags: str = "") -> Script:
    """Compose a script of files in `lua/`."""
    folder = files(__package__) / "lua"
    source = "".join((folder / f"{name}.lua").read_text("utf-8") for name in ("helpers", *names))
    source = f"#!lua flags={flags}\n{source}" if flags else source
    script = Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
    _sources[script.sha] = source
    return script


APPEND: Final = _load("append")
APPEND_IN_ORDER: Final = _load("append_in_order", "append")
OUTBOX_STATE: Final = _load("outbox_state")
OUTBOX_APPEND: Final = _load("outbox_append")
ERASE: Final = _load("erase")
PERMISSIONS: Final = _load("permissions")
# These free memory: Redis runs them also when it is out of memory.
TRIM: Final = _load("trim", flags="allow-oom")
EXPIRE: Final = _load("expire", flags="allow-oom")
RESEQUENCE: Final = _load("resequence", flags="allow-oom")
BURY: Final = _load("bury", flags="allow-oom")


# The scripts that append, by digest, in versions that publish what they append.
_MIRRORED: Final = {
    APPEND.sha: _load("mirror", "append"),
    APPEND_IN_ORDER.sha: _load("mirror", "append_in_order", "append"),
    OUTBOX_APPEND.sha: _load("mirror", "outbox_append"),
}


def mirrored(command: Command, channel: str) -> Command:
    """Return the call of a script that appends and publishes to a channel; as it is if empty."""
    if not channel:
        return command
    return ("EVALSHA", _MIRRORED[str(command[1])].sha, *command[2:], channel)


def with_source(command: Command) -> Command:
    """Return a call of a script that sends its source, for a Redis that does not have it."""
    return ("EVAL", _sources[str(command[1])], *command[2:])
