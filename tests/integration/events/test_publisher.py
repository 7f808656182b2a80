"""Contract of both publishers: same names, same signatures, same bytes on the wire."""

import asyncio
import inspect
import json
import math
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from events.exceptions import (
    EventTooLarge,
    InvalidEvent,
    InvalidJobId,
    NotAStream,
    RedisOutOfMemory,
    RedisUnavailable,
)
from events.publisher import (
    Publisher,
    RedisStreamPublisher,
    SyncRedisStreamPublisher,
    get_publisher,
)

pytestmark = pytest.mark.redis

KEY = "job_events:abc"
NOW = "2026-01-02T03:04:05+00:00"


class Sibling:
    """Calls methods of either publisher; awaits those of the async one."""

    def __init__(self, publisher):
        self.publisher = publisher

    async def __call__(self, name, *args, **kwargs):
        answer = getattr(self.publisher, name)(*args, **kwargs)
        return await answer if inspect.isawaitable(answer) else answer


@pytest.fixture(params=["sync", "async", "sync-decoding", "async-decoding"])
async def publish(request, redis_server):
    kind, _, decoding = request.param.partition("-")
    options = {"decode_responses": bool(decoding)}
    if kind == "sync":
        client = redis.Redis.from_url(redis_server.url, **options)
        yield Sibling(SyncRedisStreamPublisher(client))
        client.close()
    else:
        # A redis-py async client that is made from a URL does not retry by default.
        options["retry"] = Retry(NoBackoff(), 3)
        async_client = redis.asyncio.Redis.from_url(redis_server.url, **options)
        yield Sibling(RedisStreamPublisher(async_client))
        await async_client.aclose()
        await asyncio.sleep(0)  # the transport is closed in the next iteration of the loop


def entries(client):
    """Return the entries without the field `producer`, which other readers ignore."""
    return [
        (entry_id.decode(), {name: fields[name] for name in fields if name != b"producer"})
        for entry_id, fields in client.xrange(KEY)
    ]


def events(client):
    return [json.loads(fields[b"data"]) for _, fields in entries(client)]


async def test_event_is_an_entry_with_three_fields(publish, redis_client):
    event = {"event_type": "thought", "timestamp": NOW, "text": "ü"}
    event_id = await publish("publish_event", job_id="abc", event_data=event)
    assert entries(redis_client) == [
        (
            event_id,
            {
                b"data": json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode(),
                b"timestamp": NOW.encode(),
                b"event_type": b"thought",
            },
        )
    ]


async def test_xread_returns_the_entry(publish, redis_client):
    await publish("publish_event", "abc", {"x": 1})
    reply = redis_client.xread({KEY: "0"})
    ((_, streamed),) = reply.items() if isinstance(reply, dict) else reply
    (_, fields) = (streamed[0] if isinstance(streamed[0], tuple) else streamed[0][0])[:2]
    assert set(fields) == {b"data", b"timestamp", b"event_type", b"producer"}
    assert datetime.fromisoformat(fields[b"timestamp"].decode()).utcoffset() is not None


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "event"),
    [
        ("publish_task_started", ["outline_generation"], {"query": "q"},
         {"event_type": "task_started", "task_type": "outline_generation", "status": "started",
          "query": "q"}),
        ("publish_task_progress", ["outline_generation", 30], {"message": "m"},
         {"event_type": "task_progress", "task_type": "outline_generation", "status": "running",
          "progress": 30, "message": "m"}),
        ("publish_task_progress", ["x", "half way"], {"progress_percent": 50},
         {"event_type": "task_progress", "task_type": "x", "status": "running",
          "progress": "half way", "progress_percent": 50}),
        ("publish_task_completed", ["x"], {"result": {"a": 1}, "duration": "7s"},
         {"event_type": "task_completed", "task_type": "x", "status": "completed",
          "result": {"a": 1}, "duration": "7s"}),
        ("publish_task_failed", ["x"], {"error": "boom"},
         {"event_type": "task_failed", "task_type": "x", "status": "failed", "error": "boom"}),
        ("publish_outline_generated", [{"title": "T"}], {},
         {"event_type": "outline_generated", "outline": {"title": "T"}}),
        ("publish_document_generated", [{"title": "D"}], {},
         {"event_type": "document_generated", "document": {"title": "D"}}),
    ],
)  # fmt: skip
async def test_each_method_publishes_its_event(publish, redis_client, name, args, kwargs, event):
    event_id = await publish(name, "abc", *args, **kwargs)
    ((entry_id, fields),) = entries(redis_client)
    data = json.loads(fields[b"data"])
    assert entry_id == event_id
    assert data.pop("timestamp") == fields[b"timestamp"].decode()
    assert data == event
    assert fields[b"event_type"].decode() == event["event_type"]


async def test_batch_is_one_round_trip_in_order(publish, redis_client):
    await publish("publish_event", "abc", {"n": -1})
    redis_client.config_resetstat()
    ids = await publish("publish_events", "abc", [{"n": n} for n in range(500)])
    calls = redis_client.info("commandstats")
    assert calls.get("cmdstat_evalsha", {}).get("calls") == 1
    assert [entry_id for entry_id, _ in entries(redis_client)][1:] == ids
    assert [event["n"] for event in events(redis_client)] == list(range(-1, 500))


async def test_batch_after_a_script_flush(publish, redis_client):
    redis_client.script_flush()
    assert len(await publish("publish_events", "abc", [{}, {}])) == 2
    assert redis_client.xlen(KEY) == 2


async def test_empty_batch_appends_nothing(publish, redis_client):
    assert await publish("publish_events", "abc", []) == []
    assert not redis_client.exists(KEY)


async def test_batch_with_an_invalid_event_appends_nothing(publish, redis_client):
    with pytest.raises(InvalidEvent):
        await publish("publish_events", "abc", [{}, {"x": math.nan}])
    assert not redis_client.exists(KEY)


async def test_stream_length_and_info(publish, redis_client):
    assert await publish("get_stream_length", "abc") == 0
    assert await publish("get_stream_info", "abc") is None
    _, last = await publish("publish_events", "abc", [{}, {}])
    assert await publish("get_stream_length", "abc") == 2
    info = await publish("get_stream_info", "abc")
    assert info["length"] == 2
    assert info["last-generated-id"] in (last, last.encode())


@pytest.mark.parametrize("bad", ["", "a b", "../x", "x" * 65, "a\n", "\ud800", 5, None])
async def test_invalid_job_id_is_rejected(publish, redis_client, bad):
    for name, args in [
        ("publish_event", [{}]),
        ("publish_events", [[{}]]),
        ("get_stream_info", []),
        ("get_stream_length", []),
        ("publish_task_started", ["x"]),
    ]:
        with pytest.raises(InvalidJobId):
            await publish(name, bad, *args)
    assert redis_client.dbsize() == 0


@pytest.mark.parametrize("bad", [{"x": math.nan}, {"x": "\x00"}, {"x": "\ud800"}, [], None])
async def test_invalid_event_is_rejected(publish, redis_client, bad):
    with pytest.raises(InvalidEvent):
        await publish("publish_event", "abc", bad)
    assert redis_client.dbsize() == 0


async def test_event_above_the_size_limit_is_rejected(publish, redis_client):
    with pytest.raises(EventTooLarge, match="262144"):
        await publish("publish_event", "abc", {"x": "x" * 256 * 1024})
    assert redis_client.dbsize() == 0


async def test_key_that_is_not_a_stream(publish, redis_client):
    redis_client.set(KEY, "x")
    for name, args in [
        ("publish_event", [{}]),
        ("publish_events", [[{}]]),
        ("get_stream_info", []),
        ("get_stream_length", []),
    ]:
        with pytest.raises(NotAStream, match="is not a stream"):
            await publish(name, "abc", *args)


async def test_redis_out_of_memory(publish, redis_client):
    redis_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(RedisOutOfMemory, match="out of memory"):
            await publish("publish_event", "abc", {})
        with pytest.raises(RedisOutOfMemory, match="out of memory"):
            await publish("publish_events", "abc", [{}])
    finally:
        redis_client.config_set("maxmemory", 0)


async def test_unreachable_redis_raises_redis_unavailable(short_tmp):
    options = {"retry": None, "socket_connect_timeout": 0.5}
    url = f"unix://{short_tmp}/missing.sock"
    with pytest.raises(RedisUnavailable, match="did not answer"):
        SyncRedisStreamPublisher(redis.Redis.from_url(url, **options)).publish_event("abc", {})
    client = redis.asyncio.Redis.from_url(url, **options)
    with pytest.raises(RedisUnavailable, match="did not answer"):
        await RedisStreamPublisher(client).publish_event("abc", {})


async def test_prefix_and_limit_come_from_the_settings(redis_server, redis_client, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_PREFIX": "mine:", "MAX_EVENT_BYTES": 100}
    publisher = SyncRedisStreamPublisher(redis_client)
    publisher.publish_event("abc", {})
    assert redis_client.xlen("mine:abc") == 1
    with pytest.raises(EventTooLarge):
        publisher.publish_event("abc", {"x": "x" * 100})


def test_both_publishers_have_the_same_methods_and_signatures():
    def public(kind):
        members = inspect.getmembers(kind, inspect.isfunction)
        return {
            name: list(inspect.signature(f).parameters) for name, f in members if name[0] != "_"
        }

    sync, asynchronous = public(SyncRedisStreamPublisher), public(RedisStreamPublisher)
    assert sync == asynchronous
    assert set(public(Publisher)) <= set(sync)


def test_threads_share_a_sync_publisher(redis_client):
    publisher = get_publisher()
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda n: publisher.publish_event("abc", {"n": n}), range(400)))
    by_id = {
        entry_id: json.loads(fields[b"data"])["n"] for entry_id, fields in entries(redis_client)
    }
    assert [by_id[event_id] for event_id in ids] == list(range(400))


def _publish_in_child(publisher, start, pipe):
    pipe.send([publisher.publish_event("abc", {"n": n}) for n in range(start, start + 50)])


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_publisher_survives_a_fork(redis_client):
    publisher = get_publisher()
    publisher.publish_event("abc", {"n": -1})
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_publish_in_child, args=(publisher, 1000, sender))
    child.start()
    own = [publisher.publish_event("abc", {"n": n}) for n in range(50)]
    ids_of_child = receiver.recv()
    child.join()
    by_id = {
        entry_id: json.loads(fields[b"data"])["n"] for entry_id, fields in entries(redis_client)
    }
    assert [by_id[event_id] for event_id in own] == list(range(50))
    assert [by_id[event_id] for event_id in ids_of_child] == list(range(1000, 1050))


def test_publishing_works_without_a_django_project(redis_server, tmp_path):
    import subprocess
    import sys
    from pathlib import Path

    script = f"""
import asyncio, redis.asyncio
from events.publisher import RedisStreamPublisher
async def main():
    client = redis.asyncio.Redis.from_url({redis_server.url!r})
    print(await RedisStreamPublisher(client).publish_event(job_id="job_001", event_data={{}}))
    await client.aclose()
asyncio.run(main())
"""
    root = Path(__file__).resolve().parents[3]
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={"PYTHONPATH": str(root), "PATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "-" in ran.stdout


def test_thread_may_publish_while_another_blocks(redis_client):
    publisher = get_publisher()
    blocked = threading.Thread(target=lambda: redis_client.xread({KEY: "$"}, block=5000))
    blocked.start()
    publisher.publish_event("abc", {})
    while blocked.is_alive():
        publisher.publish_event("abc", {})
        blocked.join(0.05)


async def test_dropped_connection_is_opened_again(publish, redis_client):
    await publish("publish_event", "abc", {"n": 1})
    await publish("publish_events", "abc", [{"n": 2}])
    redis_client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await publish("publish_event", "abc", {"n": 3})
    redis_client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await publish("publish_events", "abc", [{"n": 4}])
    assert [event["n"] for event in events(redis_client)] == [1, 2, 3, 4]


@pytest.mark.parametrize("method", ["publish_event", "publish_events"])
async def test_cancelled_publishes_do_not_mix_replies(async_redis, redis_client, method):
    """An unread reply must not reach the next caller."""
    publisher = RedisStreamPublisher(async_redis)
    for turns in range(60):
        doomed = {"doomed": turns} if method == "publish_event" else [{"doomed": turns}]
        task = asyncio.create_task(getattr(publisher, method)("abc", doomed))
        for _ in range(turns % 12):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        event_id = await publisher.publish_event("abc", {"n": turns})
        ((_, fields),) = redis_client.xrange(KEY, event_id, event_id)
        assert json.loads(fields[b"data"])["n"] == turns
