"""The state of each health item for a status."""

from datetime import UTC, datetime, timedelta

import pytest

from events.processor import health
from events.processor.health import StatusCache, health_items
from events.processor.lag import ArchiveLag
from events.processor.status import LogStatus, OutboxStatus, ProcessorStatus, StalledLog
from events.streams.memory import RedisMemory
from tests.support.site import ROOT

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
MIB = 2**20
ALIVE = ProcessorStatus("one", NOW, NOW, alive=True, loops={})
DEAD = ProcessorStatus("two", NOW, NOW - timedelta(minutes=9), alive=False, loops={})
WELL = {
    "at": NOW,
    "redis": RedisMemory(40 * MIB, 256 * MIB, "noeviction"),
    "archive": ArchiveLag(70, 0, None, complete=True),
    "running": True,
    "outbox": OutboxStatus(0, None),
    "processors": (ALIVE,),
}


def items(**changes):
    return {item.name: item for item in health_items(LogStatus(**{**WELL, **changes}))}


def test_everything_is_well():
    found = items()
    assert {item.state for item in found.values()} == {"ok"}
    assert (found["processors"].value, found["processors"].limit) == (1, 1)
    assert found["redis_memory"].threshold == 0.75 * 256 * MIB
    assert (found["outbox_age"].value, found["streams"].value) == (0.0, 70)


def test_every_runbook_is_a_heading():
    operations = (ROOT / "docs" / "operations.md").read_text()
    for item in items().values():
        path, _, heading = item.runbook.partition("#")
        assert path == "docs/operations.md"
        assert f"\n### {heading}\n" in operations


@pytest.mark.parametrize(
    ("changes", "name", "state"),
    [
        ({"running": False, "processors": (DEAD,)}, "processors", "critical"),
        ({"processors": (ALIVE, DEAD)}, "processors", "warning"),
        ({"redis": RedisMemory(200 * MIB, 256 * MIB, "noeviction")}, "redis_memory", "warning"),
        (
            {"redis": RedisMemory(256 * MIB, 256 * MIB, "noeviction", "OOM", is_full=True)},
            "redis_memory",
            "critical",
        ),
        ({"redis": RedisMemory(1, 0, "allkeys-lru")}, "redis", "warning"),
        ({"redis": RedisMemory(error="down")}, "redis", "critical"),
        ({"redis": RedisMemory(error="down")}, "redis_memory", "unknown"),
        ({"archive": ArchiveLag(error="down")}, "streams", "unknown"),
        ({"archive": ArchiveLag(70, 3, 40.0, complete=True)}, "archive_age", "warning"),
        ({"archive": ArchiveLag(70, 3, 90.0, complete=True)}, "archive_age", "critical"),
        ({"outbox": OutboxStatus(5, 61.0)}, "outbox", "critical"),
        (
            {"running": False, "processors": (), "outbox": OutboxStatus(5, 61.0)},
            "outbox_age",
            "critical",
        ),
        (
            {"stalled_count": 1, "stalled": (StalledLog("abc", "bad", NOW),)},
            "stalled_logs",
            "critical",
        ),
        ({"loss_count": 2}, "lost_events", "warning"),
        ({"database_error": "down", "running": False}, "database", "critical"),
    ],
)
def test_states(changes, name, state):
    assert items(**changes)[name].state == state


def test_item_has_the_problem_and_its_remedy():
    item = items(running=False, processors=(DEAD,), last_heartbeat_at=DEAD.heartbeat_at)[
        "processors"
    ]
    assert item.detail == "process_events is not running."
    assert "manage.py process_events" in item.action
    assert item.since == DEAD.heartbeat_at
    assert (item.value, item.limit) == (0, 1)


def test_status_is_queried_at_most_once_in_five_seconds(monkeypatch):
    queried, clock = [], [100.0]
    monkeypatch.setattr(health, "get_status", lambda: queried.append(1) or LogStatus(**WELL))
    monkeypatch.setattr(health, "monotonic", lambda: clock[0])
    cache = StatusCache()
    assert cache.get() is cache.get()
    clock[0] += 6
    cache.get()
    cache.clear()
    cache.get()
    assert len(queried) == 3
