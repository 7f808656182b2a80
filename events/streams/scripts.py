"""The Lua scripts of `lua/`, which Redis runs atomically, and their digests.

A script is `helpers.lua` followed by its own files. All of them take two keys: a job's stream and
its state; `helpers.lua` describes the fields of the state.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Final

Command = tuple[str | bytes | int, ...]

# The first word of the error replies of the scripts.
STALE_EPOCH: Final = "STALEEPOCH"
OUT_OF_ORDER: Final = "OUTOFORDER"
KEY_CONFLICT: Final = "KEYCONFLICT"


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the digest that identifies it in Redis."""

    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)

    @classmethod
    def load(cls, *names: str) -> "Script":
        """Compose a script of files in `lua/`."""
        folder = files(__package__) / "lua"
        parts = [(folder / f"{name}.lua").read_text("utf-8") for name in ("helpers", *names)]
        return cls("".join(parts))

    def call(self, keys: tuple[str, str], arguments: Iterable[str | bytes | int]) -> Command:
        """Return the call of the script; the reply is NOSCRIPT if Redis does not have it."""
        return ("EVALSHA", self.sha, 2, *keys, *arguments)


APPEND: Final = Script.load("append")
APPEND_IN_ORDER: Final = Script.load("append_in_order", "append")
OUTBOX_STATE: Final = Script.load("outbox_state")
OUTBOX_APPEND: Final = Script.load("outbox_append")
TRIM: Final = Script.load("trim")
EXPIRE: Final = Script.load("expire")
RESEQUENCE: Final = Script.load("resequence")
BURY: Final = Script.load("bury")

_SOURCES: Final = {
    script.sha: script.source
    for script in (
        APPEND, APPEND_IN_ORDER, OUTBOX_STATE, OUTBOX_APPEND, TRIM, EXPIRE, RESEQUENCE, BURY,
    )
}  # fmt: skip


def with_source(command: Command) -> Command:
    """Return a call of a script that sends its source, for a Redis that does not have it."""
    return ("EVAL", _SOURCES[str(command[1])], *command[2:])
