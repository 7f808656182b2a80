"""Checks of Redis, on each master of a cluster."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from time import perf_counter
from typing import Any, Final
from urllib.parse import urlsplit

from events.codec import text_of
from events.conf import event_settings
from events.database import aware_time, database_now
from events.doctor.checks import CONNECTION_SECONDS, Check, Examination
from events.doctor.findings import Finding, error, ok, skipped, warning, worst
from events.exceptions import EventsError
from events.processor.report import redis_text
from events.streams import commands
from events.streams.clients import get_redis, send_command, send_pipeline
from events.streams.cluster import masters_of
from events.streams.keys import StreamKeys
from events.streams.memory import SAFE_POLICY
from events.streams.permissions import denied_of, permissions
from events.streams.pubsub import mirror_channel
from events.streams.retry import raised
from events.streams.scripts import Command

MIN_REDIS_VERSION: Final = (7, 0)
CLOCK_WARNING_SECONDS: Final = 1.0
CLOCK_ERROR_SECONDS: Final = 60.0
SLOW_PING_MS: Final = 10.0
_PINGS: Final = 20
_JOB_ID: Final = "doctor"
_MS: Final = 1000


def of_masters(requests: Sequence[Command], judge: Callable[[list[Any]], Finding]) -> Finding:
    """Return the worst finding about the replies of a master. Raises EventsError."""
    with masters_of(get_redis()) as masters:
        return worst([judge(send_pipeline(master, requests)) for master in masters])


def info_of(reply: Any) -> dict[str, str]:
    """Decode the reply to INFO; empty if the user may not run it."""
    lines = () if isinstance(reply, EventsError) else text_of(reply).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def check_connection(_examination: Examination) -> Finding:
    """Redis replies."""
    start = perf_counter()
    send_command(get_redis(), ("PING",))
    return ok(f"{_address()} responds in {(perf_counter() - start) * _MS:.1f} ms.")


def _address() -> str:
    """Where Redis is, without its user and password."""
    if event_settings.REDIS_CLIENT_FACTORY:
        return f"The Redis of {event_settings.REDIS_CLIENT_FACTORY}"
    parts = urlsplit(event_settings.REDIS_URL)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def check_version(_examination: Examination) -> Finding:
    """The scripts need Redis 7; the versions of Valkey are later."""
    return of_masters([commands.hello()], _judge_version)


def _judge_version(replies: list[Any]) -> Finding:
    hello = commands.fields_of_info(raised(replies[0]))
    version = text_of(hello["version"])
    seen = f"{text_of(hello['server'])} {version}."
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    return ok(seen) if numbers >= MIN_REDIS_VERSION else error(seen)


def check_persistence(_examination: Examination) -> Finding:
    """Events that are not archived are as durable as Redis."""
    requests = [
        ("INFO", "persistence"),
        ("CONFIG", "GET", "appendfsync"),
        ("CONFIG", "GET", "save"),
    ]
    return of_masters(requests, _judge_persistence)


def _judge_persistence(replies: list[Any]) -> Finding:
    info = info_of(replies[0])
    if not info:
        return skipped("The Redis user may not run INFO.")
    failed = [name for name in _FAILURES if info.get(name, "ok") != "ok"]
    if failed:
        return error(f"Redis cannot write to its disk: {', '.join(failed)}.")
    fsync, save = (_configured(reply) for reply in replies[1:])
    if info["aof_enabled"] == "1":
        seen = f"Append-only file, appendfsync {fsync or 'unknown'}."
        return warning(seen, "Set appendfsync to everysec.") if fsync == "no" else ok(seen)
    if save == "":
        return warning("No append-only file and no snapshots: a restart empties Redis.")
    return warning("Snapshots only: a crash loses what was published since the last one.")


_FAILURES: Final = ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status")


def _configured(reply: Any) -> str | None:
    """Decode the reply to CONFIG GET; None if the user may not run it."""
    if isinstance(reply, EventsError):
        return None
    return next((text_of(value) for value in commands.fields_of_info(reply).values()), None)


def check_eviction(examination: Examination) -> Finding:
    """Redis must not remove streams by itself."""
    memory = examination.memory
    if not memory.policy:
        return skipped("The Redis user may not run INFO.")
    return error(memory.eviction) if memory.eviction else ok(f"{memory.policy}.")


def check_memory(examination: Examination) -> Finding:
    """Redis has memory for new events."""
    memory = examination.memory
    if memory.is_full:
        return error(memory.refusal)
    if not memory.policy:
        return skipped("The Redis user may not run INFO.")
    seen = f"{redis_text(memory).partition(',')[0]} in use."
    if not memory.limit:
        return warning(f"{seen} There is no maxmemory: Redis may use all memory of its machine.")
    if memory.is_under_pressure:
        share = event_settings.MEMORY_PRESSURE
        return warning(f"{seen} Above {share:.0%} (MEMORY_PRESSURE), streams keep no tail.")
    return ok(seen)


def check_writes(examination: Examination) -> Finding:
    """Redis accepts a write."""
    memory = examination.memory
    if memory.error:
        return error(memory.error)
    if memory.is_full:
        return ok("Refuses them for lack of memory only.")
    return error(memory.refusal) if memory.refusal else ok("Accepts a write.")


def check_access(_examination: Examination) -> Finding:
    """The ACL of the Redis user permits all commands that are used."""
    keys, channel = StreamKeys(event_settings.STREAM_PREFIX), mirror_channel(_JOB_ID)
    reply = send_command(get_redis(), permissions(keys, _JOB_ID, channel))
    required, optional = denied_of(reply)
    if required:
        names = " and ".join(filter(None, (keys.stream(_JOB_ID), channel)))
        return error(f"The Redis user may not run {', '.join(required)} for {names}.")
    if optional:
        return ok(f"All required commands; not the optional {', '.join(optional)}.")
    return ok("All commands.")


def check_clock(_examination: Examination) -> Finding:
    """Redis assigns ids by its clock, the database has all other times."""
    return of_masters([("TIME",)], _judge_clock)


def _judge_clock(replies: list[Any]) -> Finding:
    seconds, microseconds = map(int, raised(replies[0]))
    ahead = seconds + microseconds / 1_000_000 - aware_time(database_now()).timestamp()
    seen = f"Redis is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} the database."
    if abs(ahead) >= CLOCK_ERROR_SECONDS:
        return error(seen)
    return warning(seen) if abs(ahead) >= CLOCK_WARNING_SECONDS else ok(seen)


def check_latency(_examination: Examination) -> Finding:
    """A publish call waits for one reply."""
    with masters_of(get_redis()) as masters:
        return worst([_judge_latency(_ping(master) for _ in range(_PINGS)) for master in masters])


def _ping(master: Any) -> float:
    start = perf_counter()
    send_command(master, ("PING",))
    return (perf_counter() - start) * _MS


def _judge_latency(times: Iterable[float]) -> Finding:
    times = sorted(times)
    seen = f"Median {median(times):.1f} ms, highest {times[-1]:.1f} ms of {len(times)} commands."
    return warning(seen) if median(times) >= SLOW_PING_MS else ok(seen)


_REDIS: Final = ("redis-connection",)
_WRITES: Final = ("redis-writes",)

CHECKS: Final = (
    Check(
        "redis-connection",
        check_connection,
        "Start Redis, or correct REDIS_URL.",
        seconds=CONNECTION_SECONDS,
    ),
    Check("redis-version", check_version, "Upgrade to Redis 7 or later, or Valkey.", _REDIS),
    Check("redis-persistence", check_persistence, "Set appendonly to yes.", _REDIS),
    Check("redis-writes", check_writes, "Resolve the error that Redis returns.", _REDIS),
    Check("redis-eviction", check_eviction, f"Set maxmemory-policy to {SAFE_POLICY}.", _WRITES),
    Check("redis-memory", check_memory, "Set or raise maxmemory, or delete keys.", _WRITES),
    Check("redis-access", check_access, "Extend the ACL of the user.", _REDIS),
    Check("redis-latency", check_latency, "Move Redis closer, or reduce its load.", _REDIS),
    Check(
        "redis-clock",
        check_clock,
        "Run NTP on both machines.",
        (*_REDIS, "database-connection"),
    ),
)
