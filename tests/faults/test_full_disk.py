"""The database or Redis on a small file system that is full, and has space again."""

import asyncio
import json
from contextlib import closing, suppress
from datetime import timedelta
from time import sleep

import pytest
import redis
import websockets

from events import outbox
from events.exceptions import RedisNotWritable
from events.history import read_events
from events.models import ArchiveCheckpoint
from events.outbox.relay import Relay
from events.publisher import SyncRedisStreamPublisher, get_publisher
from events.testing.redis_server import EmbeddedRedis
from tests.support.disk import SmallDisk
from tests.support.need import need
from tests.support.site import Site

DISK_BYTES = 16 * 1024 * 1024
JOB = {"task_type": "manual"}

CREATE_JOB = """
from django.db import OperationalError
from jobs import services
try:
    services.job_create(job_id="from-a-script", task_type="manual")
except OperationalError as error:
    print("refused:", error)
"""


@pytest.fixture
def disk(request, tmp_path):
    disk = SmallDisk(tmp_path / "disk", DISK_BYTES)
    need(request, disk.mount(), "permission to mount a file system")
    yield disk
    disk.unmount()


@pytest.fixture
def site(disk, short_tmp):
    directory = short_tmp / "full"
    directory.mkdir(exist_ok=True)
    site = Site(directory)
    site.environment["DATABASE_URL"] = f"sqlite:///{disk.directory / 'site.sqlite3'}"
    try:
        site.start(worker=False)
        yield site
    finally:
        site.stop()


async def receive(socket, count):
    """Receive messages until so many events; return their numbers."""
    numbers = []
    while len(numbers) < count:
        message = json.loads(await socket.recv())
        if message["type"] == "event" and "n" in message["event"]["data"]:
            numbers.append(message["event"]["data"]["n"])
    return numbers


@pytest.mark.extended
@pytest.mark.timeout(180)
async def test_full_disk(site, disk):
    with site.client("anna") as client, closing(redis.Redis.from_url(site.redis.url)) as connection:
        publisher = SyncRedisStreamPublisher(connection)
        job_id = client.post("/api/jobs/", json=JOB).json()["job_id"]
        url, cookie = f"{site.ws_url}/ws/jobs/{job_id}/", site.cookie("anna")
        async with websockets.connect(url, additional_headers=cookie, origin=site.url) as socket:
            publisher.publish_event(job_id, {"n": 0})
            assert await receive(socket, 1) == [0]
            disk.fill()
            # Writes fail; reading and live delivery continue.
            for _ in range(50):
                response = client.post("/api/jobs/", json=JOB)
                assert response.status_code == 503
                assert response.json()["type"] == "urn:job-events:unavailable"
            assert "refused: " in site.manage("shell", "--verbosity", "0", "-c", CREATE_JOB)
            publisher.publish_events(job_id, [{"n": n, "x": "y" * 4_000} for n in range(1, 200)])
            assert await receive(socket, 199) == list(range(1, 200))
            assert client.get(f"/api/jobs/{job_id}/").json()["status"] == "pending"
            disk.free()
            assert client.post("/api/jobs/", json=JOB).status_code == 201
            assert client.post(f"/api/jobs/{job_id}/cancel/", json={}).status_code == 200
    with site.client("anna") as client:
        state = {"archive_position": None, "last_id": ""}
        while state["archive_position"] != state["last_id"]:  # the processor recovers by itself
            await asyncio.sleep(0.2)
            state = client.get(f"/api/jobs/{job_id}/stream/").json()
        page = client.get(f"/api/jobs/{job_id}/events/").json()["results"]
    assert [event["data"]["n"] for event in page[1:-1]] == list(range(200))
    assert state["archive_position"] == state["last_id"]
    site.manage("process_events", "--status")
    for name in ("web", "processor"):
        assert site.log_of(name).count("\n") < 300


@pytest.fixture
def redis_on_disk(disk, settings, monkeypatch):
    server = EmbeddedRedis(disk.directory)
    server.start()
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": server.url}
    monkeypatch.setattr("events.outbox.relay.MIN_AGE", timedelta())
    yield server
    server.stop()


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_full_disk_of_redis_stalls_no_log(redis_on_disk, disk):
    disk.fill()
    count, text = 0, "x" * 4096
    with suppress(RedisNotWritable):
        while True:  # the last block may have room
            get_publisher().publish_event("a", {"text": text})
            count += 1
    for job_id in ("a", "b"):
        outbox.publish_event(job_id, {"event_type": "committed"})
    with pytest.raises(RedisNotWritable):
        Relay().step()
    assert not ArchiveCheckpoint.objects.exclude(error="").exists()
    disk.free()
    with closing(redis.Redis.from_url(redis_on_disk.url)) as client:
        while client.info("persistence")["aof_last_write_status"] != "ok":
            sleep(0.1)
    assert Relay().step() == 2
    assert len(read_events("a")) == count + 1
    assert [event.event_type for event in read_events("b")] == ["committed"]
