"""Names of Redis keys; no other module spells them."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from events.exceptions import InvalidJobId
from events.types import check_job_id

_GLOB_ESCAPES: Final = str.maketrans({char: f"\\{char}" for char in "*?[]^\\"})

# The type of a key's value, by the end of the key.
_KINDS: Final = ((":producers:watched", "string"), (":producers", "hash"), ("", "stream"))


@dataclass(frozen=True, slots=True)
class StreamKeys:
    """The keys of all jobs under one prefix."""

    prefix: str

    def stream(self, job_id: str) -> str:
        """Return the key of the job's stream. Raises InvalidJobId."""
        return self.pair(job_id)[0]

    def pair(self, job_id: str) -> tuple[str, str]:
        """Return the keys of the stream and of the hash with the state of its producers.

        A cluster stores them in one slot.
        """
        try:
            return _pair(self.prefix, job_id)
        except TypeError:  # an unhashable value is not a job_id either
            return check_job_id(job_id), ""

    def watched(self, job_id: str) -> str:
        """Return the key whose time to live shows when the job last had a subscriber."""
        return f"{self.pair(job_id)[1]}:watched"

    @property
    def probe(self) -> str:
        """Return a key that never exists: `:` is not part of a job_id."""
        return f"{self.prefix}:"

    @property
    def markers(self) -> str:
        """Return the channel of the markers of `bridge_pubsub`, and the prefix of their keys."""
        return f"{self.prefix}:markers"

    @property
    def owner(self) -> str:
        """Return the key with the id of the archive that copies and trims the streams."""
        return f"{self.prefix}:owner"

    @property
    def pattern(self) -> str:
        """The SCAN pattern of all streams; it may match other keys."""
        return f"{self.prefix.translate(_GLOB_ESCAPES)}*"

    @property
    def state_pattern(self) -> str:
        """The SCAN pattern of all states and marks of subscribers; see `pattern`."""
        return self.pattern if "{" in self.prefix else f"{{{self.pattern}"

    def is_shared(self, key: str) -> bool:
        """Return whether a key is ours, but of no job: `:` is not part of a job_id."""
        return key.startswith(self.probe)

    def kind(self, key: str) -> tuple[str, str] | None:
        """Return the job_id of a key and the type of its value; None for a key of others."""
        for suffix, kind in _KINDS:
            if not key.endswith(suffix):
                continue
            name = key.removesuffix(suffix)
            if suffix and "{" not in self.prefix:
                name = name.removeprefix("{").removesuffix("}")
            job_id = self.job_id(name)
            if job_id and key in (*self.pair(job_id), self.watched(job_id)):
                return job_id, kind
        return None

    def job_id(self, key: str) -> str | None:
        """Return the job_id of a stream's key; None if the key is not one."""
        try:
            return check_job_id(key.removeprefix(self.prefix))
        except InvalidJobId:
            return None


@lru_cache(maxsize=1024)
def _pair(prefix: str, job_id: str) -> tuple[str, str]:
    key = prefix + check_job_id(job_id)
    # A cluster hashes the part of a key in braces, or the whole key without any.
    return key, f"{key if '{' in prefix else f'{{{key}}}'}:producers"
