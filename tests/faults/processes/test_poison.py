"""Data that cannot be archived or appended stalls only its own log, and is reported."""

import json
import time

import pytest

from tests.faults.processes.checker import Expected, check

KEY = "job_events:abc"
STATE = "{job_events:abc}:producers"


def fault(world, job="abc"):
    return world.run("fault_of", job=job).wait_for("fault")


@pytest.fixture
def redis(world):
    with world.client() as client:
        yield client


def check_other_job(world):
    """Write, relay and archive the log of another job while `abc` is stalled."""
    world.write(
        {"commit": "o1", "job": "other"},
        {"publish": "o2", "job": "other"},
        {"commit_only": "o3", "job": "other"},
    )
    world.do("relay_once")
    world.do("archive_once", rounds=3)
    dump = world.run("dump_of", job="other").wait_for("dump")
    check(dump, Expected(committed=["o1", "o3"], published=["o2"]))


def test_stream_key_of_another_type(world, redis):
    redis.set(KEY, "mine")
    world.write({"commit": "t1"})
    check_other_job(world)
    assert fault(world).startswith("NotAStream")
    redis.delete(KEY)
    check(world.drained()["abc"], Expected(committed=["t1"]))


def test_state_key_of_another_type(world, redis):
    """The stream and other logs are archived."""
    world.write({"commit": "t1"}, {"publish": "s1"})
    redis.delete(STATE)
    redis.set(STATE, "mine")
    world.write({"commit": "t2"})
    check_other_job(world)
    world.do("relay_once")
    assert "NotAStream" in fault(world)
    redis.delete(STATE)
    check(world.drained()["abc"], Expected(committed=["t1", "t2"], published=["s1"]))


def test_projection_that_raises(world):
    world.write({"commit": "t1"}, {"publish": "s1"}, {"commit": "o1", "job": "other"})
    child = world.do("archive_with_failing_projection", job="abc")
    assert sum(child.values_of("archived")) == 1
    assert fault(world).startswith("ValueError: cannot project abc")
    assert fault(world, "other") == ""
    dump = world.drained()
    check(dump["abc"], Expected(committed=["t1"], published=["s1"]))
    check(dump["other"], Expected(committed=["o1"]))


def test_stream_with_the_last_possible_id(world, redis):
    """An external producer used the id: nothing can be appended."""
    redis.xadd(KEY, {"data": '{"c": "s1"}'}, id=f"{2**64 - 1}-{2**64 - 1}")
    world.write({"commit": "t1"})
    check_other_job(world)
    world.do("relay_once")
    assert fault(world).startswith("RedisCommandError")


def test_redis_out_of_memory(world, redis):
    world.write({"commit": "t1"}, {"publish": "s1"})
    redis.config_set("maxmemory", 1)
    assert world.write({"commit": "t2"}).values_of("done") == ["t2"]
    world.do("archive_once")
    (failed,) = world.do("relay_once").values_of("failed_step")
    assert failed.startswith("RedisOutOfMemory")
    assert fault(world) == ""  # no log is at fault
    redis.config_set("maxmemory", 0)
    check(world.drained()["abc"], Expected(committed=["t1", "t2"], published=["s1"]))


DATA = {
    "nothing": {"": ""},
    "empty data": {"data": ""},
    "unknown fields only": {"a": "b"},
    "NUL in data": {"data": b'{"c": "\x00"}'},
    "escaped NUL in data": {"data": rb'{"c": "\u0000", "\u0000": 1}'},
    "NUL in a type": {"data": rb'{"event_type": "a\u0000b"}'},
    "NUL in a field's type": {"data": b"{}", "event_type": b"a\x00b"},
    "NUL in a producer": {"data": b"{}", "producer": b"a\x00:1:1"},
    "a line break in a timestamp": {"data": rb'{"timestamp": "2024-01-01\n12:00:00"}'},
    "NUL in a name": {b"\x00": b"\x00", b"data": b"{}"},
    "a lone surrogate": {"data": rb'{"c": "\ud800"}'},
    "an encoded surrogate": {"data": b'{"c": "\xed\xa0\x80"}', "event_type": b"\xed\xa0\x80"},
    "no UTF-8": {"data": b"\xff\xfe", "event_type": b"\xff", "timestamp": b"\xff"},
    "1e400": {"data": b'{"c": 1e400}'},
    "NaN": {"data": b'{"c": NaN}'},
    "a number of 5,000 digits": {"data": b'{"c": ' + b"9" * 5000 + b"}"},
    "a list": {"data": b"[1]"},
    "null": {"data": b"null"},
    "too deep": {"data": b'{"c": ' + b"[" * 5000 + b"]" * 5000 + b"}"},
    "a huge type": {"data": json.dumps({"event_type": "x" * 100_000}).encode()},
    "a huge name": {b"x" * 100_000: b"y"},
    "much NUL": {"data": b"\x00" * 100_000},
    "the year 9999": {"data": b'{"timestamp": "9999-12-31T23:59:59Z"}'},
    "the year 1": {"data": b'{"timestamp": "0001-01-01T00:00:00+14:00"}'},
    "the last number of the outbox": {"data": b"{}", "producer": "outbox:0:1"},
    "an unassigned number of the outbox": {
        "data": b"{}",
        "producer": "outbox:0:" + "9" * 18,
    },
    "many fields": {f"field-{number}": "x" for number in range(1000)},
    "line breaks": {"data": b'{\r\n"c":\n1}'},
    "reserved names": {"id": "1-1", "sequence": "x", "log_id": "1", "data": "x", "epoch": "9"},
}


def test_entries_of_external_producers_are_archived(world, redis):
    for fields in DATA.values():
        redis.xadd(KEY, fields)
    world.write({"commit": "t1"}, {"publish": "s1"})
    dump = world.drained()["abc"]
    assert fault(world) == ""
    assert len(dump["log"]) == len(DATA) + 2
    assert dump["log"] == dump["archived"]
    assert dump["stream"] == [event_id for event_id, *_ in dump["log"]][-len(dump["stream"]) :]


@pytest.mark.parametrize(
    "fields",
    [
        {"data": rb'{"timestamp": "2024-01-01\u000012:00:00"}'},
        {"data": b"{}", "timestamp": b"2024-01-01\x0012:00:00"},
    ],
)
def test_nul_in_a_timestamp(postgres_world, fields):
    """Python accepts any character between date and time; PostgreSQL accepts no NUL."""
    with postgres_world.client() as client:
        client.xadd(KEY, fields)
    postgres_world.do("archive_once")
    assert fault(postgres_world) == ""


def test_external_entries_with_equal_producer_fields(world, redis):
    """The field of an external producer identifies no append."""
    for number in range(5):
        redis.xadd(KEY, {"data": json.dumps({"c": f"s{number}"}), "producer": "worker:1:1"})
    world.do("archive_once")
    redis.xadd(KEY, {"data": json.dumps({"c": "s5"}), "producer": "worker:1:1"})
    dump = world.drained()["abc"]
    assert [name for _, name, *_ in dump["log"]] == [f"s{number}" for number in range(6)]
    assert len(dump["archived"]) == 6


def test_equal_external_entries_are_no_duplicates(world, redis):
    for _ in range(3):
        redis.xadd(KEY, {"data": '{"c": "tick"}', "timestamp": "2024-01-01T00:00:00Z"})
    dump = world.drained()["abc"]
    assert len(dump["archived"]) == len(dump["log"]) == 3


def test_outbox_event_written_before_the_clock_is_rewound(world):
    world.do("write_before_the_clock_is_rewound")
    check(world.drained()["abc"], Expected(committed=["t1"]))


@pytest.mark.parametrize("ahead", [3_600_000])
def test_clock_is_rewound_and_redis_is_wiped(world, redis, ahead):
    """Later events have earlier times than the archived ones."""
    ms = int(time.time() * 1000) + ahead
    redis.xadd(KEY, {"data": '{"c": "s1"}'}, id=f"{ms}-0")
    world.do("archive_once")
    world.wipe_redis()
    world.write({"publish": "s2"}, {"commit": "t1"})
    if ahead < 10_000:
        time.sleep(max(ms / 1000 - time.time(), 0) + 0.01)
    world.write({"publish": "s3"})
    check(world.drained()["abc"], Expected(committed=["t1"], published=["s1", "s2", "s3"]))
