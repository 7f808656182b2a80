"""Memory of Redis: how much it uses, how much it may use, and whether it refuses writes."""

import math
from dataclasses import dataclass
from typing import Final

import redis

from events.codec import text_of
from events.conf import event_settings
from events.error_text import ErrorText
from events.exceptions import EventsError, RedisOutOfMemory
from events.streams.clients import send_pipeline
from events.streams.cluster import masters_of
from events.streams.keys import StreamKeys
from events.streams.retry import SlotMoved

SAFE_POLICY: Final = "noeviction"


@dataclass(frozen=True, slots=True)
class RedisMemory:
    """Bytes in use and allowed; `limit` is 0 without a `maxmemory`, `policy` its policy.

    All three are unknown, and empty, if the Redis user may not run INFO. `refusal` is the error
    that Redis returns to writes; `is_full`: it is out of memory. `error`: it does not answer.
    """

    used: int = 0
    limit: int = 0
    policy: str = ""
    refusal: str = ""
    is_full: bool = False
    error: str = ""

    @property
    def is_under_pressure(self) -> bool:
        """Whether streams must keep nothing that is archived."""
        return self.is_full or 0 < event_settings.MEMORY_PRESSURE * self.limit <= self.used

    @property
    def eviction(self) -> str:
        """Why Redis may remove streams by itself; empty if it may not, or if that is unknown."""
        if self.policy in ("", SAFE_POLICY):
            return ""
        return ErrorText(
            "Redis may evict streams: its maxmemory-policy is %(policy)s.", policy=self.policy
        )


def read_memory(client: redis.Redis) -> RedisMemory:
    """Query the memory, and send a write that changes nothing. Raises RedisUnavailable.

    Returns the memory of the fullest master of a cluster.
    """
    with masters_of(client) as masters:
        return max(map(_read_memory, masters), key=_fullness)


def _fullness(memory: RedisMemory) -> tuple[bool, float]:
    return bool(memory.refusal), memory.used / (memory.limit or math.inf)


def _read_memory(client: redis.Redis) -> RedisMemory:
    probe = StreamKeys(event_settings.STREAM_PREFIX).probe
    info, written = send_pipeline(
        client, [("INFO", "memory"), ("XADD", probe, "NOMKSTREAM", "*", "probe", "")]
    )
    if isinstance(written, SlotMoved):  # another master has the key
        written = None
    refusal = str(written) if isinstance(written, EventsError) else ""
    is_full = isinstance(written, RedisOutOfMemory)
    if isinstance(info, EventsError):
        return RedisMemory(refusal=refusal, is_full=is_full)
    values = dict(line.split(":", 1) for line in text_of(info).splitlines() if ":" in line)
    # As Redis compares it with maxmemory: some buffers do not count.
    used = int(values["used_memory"]) - int(values.get("mem_not_counted_for_evict", 0))
    limit, policy = int(values["maxmemory"]), values["maxmemory_policy"]
    return RedisMemory(used, limit, policy, refusal, is_full)
