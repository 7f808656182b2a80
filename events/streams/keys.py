"""The names of Redis keys; nowhere else are they spelled."""

from dataclasses import dataclass, field
from functools import lru_cache
from secrets import token_hex
from typing import Final

from events.exceptions import InvalidJobId
from events.types import check_job_id

_GLOB: Final = str.maketrans({char: f"\\{char}" for char in "*?[]^\\"})


@dataclass(frozen=True, slots=True)
class StreamKeys:
    """The keys of the jobs' streams under one prefix."""

    prefix: str

    def stream(self, job_id: str) -> str:
        """The key of the job's stream; raise InvalidJobId if there can be no such job."""
        return self.pair(job_id)[0]

    def state(self, job_id: str) -> str:
        """The key of what Redis remembers of the stream's producers."""
        return self.pair(job_id)[1]

    def pair(self, job_id: str) -> tuple[str, str]:
        """The keys of the stream and of its state; a cluster has both in one slot."""
        try:
            return _pair(self.prefix, job_id)
        except TypeError:  # what cannot be hashed is no job_id either
            return check_job_id(job_id), ""

    def viewed(self, job_id: str) -> str:
        """The key by which it is known when the job was viewed last."""
        return f"{self.state(job_id)}:viewed"

    @property
    def pattern(self) -> str:
        """What SCAN finds every stream by, and possibly other keys."""
        return f"{self.prefix.translate(_GLOB)}*"

    def job_id(self, key: str) -> str | None:
        """The job whose stream has this key; None if there can be no such job."""
        try:
            return check_job_id(key.removeprefix(self.prefix))
        except InvalidJobId:
            return None


@dataclass(frozen=True, slots=True)
class Scratch:
    """Keys that nobody else has, in a Redis that others may use, too: those of a run of tests."""

    token: str = field(default_factory=lambda: token_hex(8))

    def prefix(self, number: int) -> str:
        """The prefix of one test's streams."""
        return f"scratch_{self.token}_{number}:"

    @property
    def pattern(self) -> str:
        """What SCAN finds all of them by: streams, and what Redis remembers of their producers."""
        return f"*scratch_{self.token}_*"


@lru_cache(maxsize=1024)
def _pair(prefix: str, job_id: str) -> tuple[str, str]:
    """Publishers ask for the same few keys again and again."""
    key = prefix + check_job_id(job_id)
    # In braces stands what a cluster hashes: of a key without any, the whole.
    return key, f"{key if '{' in prefix else f'{{{key}}}'}:producers"
