"""What cannot be archived, or appended, stalls its own log, and is reported."""

import json
import time

import pytest

from tests.faults.processes.checker import Expected, check

KEY = "job_events:abc"
STATE = "{job_events:abc}:producers"


def fault(world, job="abc"):
    return world.run("fault_of", job=job).until("fault")


@pytest.fixture
def redis(world):
    with world.client() as client:
        yield client


def others_are_whole(world):
    """The log of another job, of which each step is taken while `abc` is poisoned."""
    world.write(
        {"commit": "o1", "job": "other"},
        {"publish": "o2", "job": "other"},
        {"commit_only": "o3", "job": "other"},
    )
    world.do("relay_once")
    world.do("archive_once", rounds=3)
    dump = world.run("dump_of", job="other").until("dump")
    check(dump, Expected(committed=["o1", "o3"], published=["o2"]))


def test_a_key_that_holds_no_stream(world, redis):
    redis.set(KEY, "mine")
    world.write({"commit": "t1"})
    others_are_whole(world)
    assert fault(world).startswith("NotAStream")
    redis.delete(KEY)
    check(world.drained()["abc"], Expected(committed=["t1"]))


def test_a_state_that_is_no_hash(world, redis):
    """The stream is archived all the same, and others are looked after."""
    world.write({"commit": "t1"}, {"publish": "s1"})
    redis.delete(STATE)
    redis.set(STATE, "mine")
    world.write({"commit": "t2"})
    others_are_whole(world)
    world.do("relay_once")
    assert "NotAStream" in fault(world)
    redis.delete(STATE)
    check(world.drained()["abc"], Expected(committed=["t1", "t2"], published=["s1"]))


def test_an_owner_that_raises(world):
    world.write({"commit": "t1"}, {"publish": "s1"}, {"commit": "o1", "job": "other"})
    child = world.do("archive_with_refuser", job="abc")
    assert sum(child.said("archived")) == 1
    assert fault(world).startswith("ValueError: cannot follow abc")
    assert fault(world, "other") == ""
    dump = world.drained()
    check(dump["abc"], Expected(committed=["t1"], published=["s1"]))
    check(dump["other"], Expected(committed=["o1"]))


def test_a_stream_that_can_take_no_more(world, redis):
    """An external producer has used the last possible id."""
    redis.xadd(KEY, {"data": '{"c": "s1"}'}, id=f"{2**64 - 1}-{2**64 - 1}")
    world.write({"commit": "t1"})
    others_are_whole(world)
    world.do("relay_once")
    assert fault(world).startswith("RedisCommandError")


def test_no_memory(world, redis):
    world.write({"commit": "t1"}, {"publish": "s1"})
    redis.config_set("maxmemory", 1)
    assert world.write({"commit": "t2"}).said("done") == ["t2"]
    world.do("archive_once")
    world.do("relay_once")
    assert "memory" in fault(world)
    redis.config_set("maxmemory", 0)
    check(world.drained()["abc"], Expected(committed=["t1", "t2"], published=["s1"]))


DATA = {
    "nothing": {"": ""},
    "empty data": {"data": ""},
    "no fields of ours": {"a": "b"},
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
    "a number of the outbox that does not come": {
        "data": b"{}",
        "producer": "outbox:0:" + "9" * 18,
    },
    "many fields": {f"field-{number}": "x" for number in range(1000)},
    "line breaks": {"data": b'{\r\n"c":\n1}'},
    "names like ours": {"id": "1-1", "sequence": "x", "log_id": "1", "data": "x", "epoch": "9"},
}


def test_whatever_strangers_append_is_archived(world, redis):
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
    """Python takes any character between date and time; PostgreSQL has no NUL."""
    with postgres_world.client() as client:
        client.xadd(KEY, fields)
    postgres_world.do("archive_once")
    assert fault(postgres_world) == ""


def test_a_stranger_with_one_producer_for_all(world, redis):
    """A field of that name may be theirs; what stands in it need not be a number of ours."""
    for number in range(5):
        redis.xadd(KEY, {"data": json.dumps({"c": f"s{number}"}), "producer": "worker:1:1"})
    world.do("archive_once")
    redis.xadd(KEY, {"data": json.dumps({"c": "s5"}), "producer": "worker:1:1"})
    dump = world.drained()["abc"]
    assert [name for _, name, *_ in dump["log"]] == [f"s{number}" for number in range(6)]
    assert len(dump["archived"]) == 6


def test_a_stranger_who_repeats_itself_exactly(world, redis):
    """Their entries are as many as they appended; none of them is a repeat of ours."""
    for _ in range(3):
        redis.xadd(KEY, {"data": '{"c": "tick"}', "timestamp": "2024-01-01T00:00:00Z"})
    dump = world.drained()["abc"]
    assert len(dump["archived"]) == len(dump["log"]) == 3


def test_what_was_written_before_the_clock_was_set_back(world):
    world.do("write_before_the_clock_was_set_back")
    check(world.drained()["abc"], Expected(committed=["t1"]))


@pytest.mark.parametrize("ahead", [3_600_000])
def test_the_clock_goes_back_as_redis_is_lost(world, redis, ahead):
    """What comes after has times of before; by a little, and it is soon past them."""
    ms = int(time.time() * 1000) + ahead
    redis.xadd(KEY, {"data": '{"c": "s1"}'}, id=f"{ms}-0")
    world.do("archive_once")
    world.wipe_redis()
    world.write({"publish": "s2"}, {"commit": "t1"})
    if ahead < 10_000:
        time.sleep(max(ms / 1000 - time.time(), 0) + 0.01)
    world.write({"publish": "s3"})
    check(world.drained()["abc"], Expected(committed=["t1"], published=["s1", "s2", "s3"]))
