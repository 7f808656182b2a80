"""Live job lists, with and without a channel layer."""

import asyncio
import json
import os
import socket
import sys
from contextlib import asynccontextmanager

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer

from events.publisher import get_publisher
from jobs import services
from jobs.access.session_guard import Connection
from jobs.live import job_list, notifier
from jobs.models import Job
from tests.integration.jobs.asgi import (
    TIMEOUT_SECONDS,
    cookie_of,
    socket_of,
    ticket_of,
    wait_until_gone,
)
from tests.integration.jobs.conftest import archived

pytestmark = pytest.mark.django_db(transaction=True)

in_thread = sync_to_async


@pytest.fixture(autouse=True)
def _closed_breaker():
    """An earlier test may have opened the breaker of the notifier."""
    notifier.change_notifier.close()
    notifier.change_notifier.breaker.record_success()


@pytest.fixture(params=["channels_redis", "none"])
def layer(request, settings, redis_server, monkeypatch):
    """channels_redis without polling, or polling without a channel layer."""
    if request.param == "none":
        monkeypatch.setattr(job_list, "_POLL_SECONDS", 0.1)
        return
    monkeypatch.setattr(job_list, "_POLL_SECONDS", 60)  # a missed notification fails the test
    hosts = [{"address": redis_server.url, "socket_timeout": None}]
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": hosts}}
    }


@asynccontextmanager
async def open_list(user):
    socket = await socket_of(user, "/ws/events/")
    assert await socket.connect() is None
    await socket.send(text='{"action": "subscribe_jobs"}')
    assert await socket.receive() == {"type": "jobs_live"}
    yield socket
    await socket.disconnect()


async def received(socket, job_id, **fields):
    """Wait for a row of the job with these fields; return the other job_ids received before."""
    others = []
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            message = await socket.receive()
            assert message["type"] == "job", message
            job = message["job"]
            if job["job_id"] == job_id and fields.items() <= job.items():
                return others
            others.append(job["job_id"])


async def test_rows_of_a_job_from_creation_to_completion(user, layer, api):
    async with open_list(user) as socket:
        create = in_thread(services.job_create)
        await create(job_id="abc", task_type="manual", owner=user, title="Tea")
        await received(socket, "abc", status="pending", title="Tea", progress=0.0)
        await in_thread(services.job_start)(job_id="abc")
        await received(socket, "abc", status="running", attempt=1)
        await in_thread(services.job_progress)(job_id="abc", progress=40)
        await received(socket, "abc", progress=40.0)
        await in_thread(services.job_complete)(job_id="abc")
        await received(socket, "abc", status="completed")
    rows = (await in_thread(api.get)("jobs/")).json()["results"]
    async with open_list(user) as socket:
        await in_thread(services.job_create)(job_id="two", task_type="manual", owner=user)
        message = await socket.receive()
        assert message["job"].keys() == rows[0].keys()


async def test_rows_changed_by_the_projection(user, make_job, layer):
    """The archiver updates the row, and the change is delivered."""
    await in_thread(make_job)(job_id="abc", owner=user)
    async with open_list(user) as socket:
        publisher = get_publisher()
        publisher.publish_task_started("abc", "manual", attempt=1)
        publisher.publish_task_progress("abc", "manual", 30, attempt=1)
        await in_thread(archived)()
        await received(socket, "abc", status="running")


async def test_users_receive_visible_jobs_only(user, other_user, staff, layer):
    async with open_list(user) as one, open_list(other_user) as other, open_list(staff) as all_:
        for job_id, owner in (("a", user), ("b", other_user), ("c", None)):
            await in_thread(services.job_create)(job_id=job_id, task_type="manual", owner=owner)
        assert await received(one, "a") == []
        assert await received(other, "b") == []
        await received(all_, "c")
        await in_thread(services.job_cancel)(job_id="b")
        assert await received(other, "b", status="cancelled") == []
        await in_thread(services.job_cancel)(job_id="a")
        assert "b" not in await received(one, "a", status="cancelled")


async def test_revoked_permission_ends_the_delivery_of_other_users_jobs(
    user, staff, settings, monkeypatch
):
    """The list queries with the user that the session guard has reloaded, not with a cached one."""
    monkeypatch.setattr(job_list, "_POLL_SECONDS", 0.1)
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RECHECK_LOGINS": 0.1}
    async with open_list(staff) as socket:
        await in_thread(services.job_create)(job_id="before", task_type="manual", owner=user)
        await received(socket, "before")
        await in_thread(staff.user_permissions.clear)()
        await type(staff).objects.filter(pk=staff.pk).aupdate(is_superuser=False)
        await asyncio.sleep(0.5)
        await in_thread(services.job_create)(job_id="other", task_type="manual", owner=user)
        await in_thread(services.job_create)(job_id="own", task_type="manual", owner=staff)
        assert await received(socket, "own") == []


async def test_changes_of_old_jobs(user, make_job, settings, redis_server, monkeypatch):
    monkeypatch.setattr(job_list, "_MAX_ROWS", 3)
    hosts = [{"address": redis_server.url, "socket_timeout": None}]
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": hosts}}
    }
    await in_thread(make_job)(job_id="old", owner=user)
    for _ in range(5):
        await in_thread(make_job)(owner=user)
    async with open_list(user) as socket:
        await in_thread(services.job_start)(job_id="old")
        await received(socket, "old", status="running")


async def test_slow_client_receives_the_latest_row_of_each_job(user, make_job):
    await in_thread(make_job)(job_id="abc", owner=user)
    with job_list.subscribe_to_jobs(Connection(user)) as subscription:
        await subscription.live.wait()
        for progress in range(5):
            subscription.put(
                [{"job_id": "abc", "progress": progress}, {"job_id": "b", "progress": 0}]
            )
        assert await subscription.next() == [
            {"job_id": "abc", "progress": 4}, {"job_id": "b", "progress": 0},
        ]  # fmt: skip


async def test_unavailable_layer(user, settings, caplog, monkeypatch):
    monkeypatch.setattr(job_list, "_POLL_SECONDS", 0.1)
    hosts = [{"address": "unix:///nonexistent/redis.sock", "socket_timeout": None}]
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": hosts}}
    }
    async with open_list(user) as socket:
        await in_thread(services.job_create)(job_id="abc", task_type="manual", owner=user)
        await received(socket, "abc")
    await wait_until_gone(lambda: "job_change_not_sent" not in caplog.messages)
    assert "job_changes_not_received" in caplog.messages


async def test_layer_that_does_not_respond(user, settings, monkeypatch, short_tmp, caplog):
    """The connections of the layer have no timeout, because receivers block on them."""
    monkeypatch.setattr(job_list, "_LAYER_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(notifier, "_LAYER_TIMEOUT_SECONDS", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(short_tmp / "silent.sock"))
        silent.listen()
        hosts = [{"address": f"unix://{short_tmp / 'silent.sock'}", "socket_timeout": None}]
        settings.CHANNEL_LAYERS = {
            "default": {
                "BACKEND": "channels_redis.core.RedisChannelLayer",
                "CONFIG": {"hosts": hosts},
            }
        }
        async with open_list(user) as viewer:
            await in_thread(services.job_create)(job_id="abc", task_type="manual", owner=user)
            await received(viewer, "abc")
    await wait_until_gone(lambda: "job_change_not_sent" not in caplog.messages)
    assert "job_changes_not_received" in caplog.messages


async def test_lost_notification(user, layer, monkeypatch):
    monkeypatch.setattr(job_list, "_POLL_SECONDS", 0.1)
    async with open_list(user) as socket:
        await Job.objects.acreate(job_id="abc", task_type="manual", owner=user)
        await received(socket, "abc")


async def test_failed_query_is_repeated(user, monkeypatch, caplog):
    monkeypatch.setattr(job_list, "_POLL_SECONDS", 0.1)
    async with open_list(user) as socket:
        with monkeypatch.context() as broken:
            broken.setattr(job_list, "visible_jobs", lambda user: 1 / 0)
            await in_thread(services.job_create)(job_id="abc", task_type="manual", owner=user)
            await wait_until_gone(lambda: "job_list_query_failed" not in caplog.messages)
        await received(socket, "abc")


async def test_unsubscribe(user, monkeypatch):
    monkeypatch.setattr(job_list, "_POLL_SECONDS", 0.1)
    async with open_list(user) as socket:
        await socket.send(text='{"action": "unsubscribe_jobs"}')
        await socket.send(text='{"action": "unsubscribe_jobs"}')
        await in_thread(services.job_create)(job_id="abc", task_type="manual", owner=user)
        await asyncio.sleep(0.3)
        await socket.send(text='{"action": "subscribe_jobs"}')
        await socket.send(text='{"action": "subscribe_jobs"}')
        assert await socket.receive() == {"type": "jobs_live"}


async def test_ticket_does_not_authorize_the_list(user, make_job):
    await in_thread(make_job)(job_id="abc", owner=user)
    socket = await socket_of(None, "/ws/events/")
    assert await socket.connect() is None
    ticket = await in_thread(ticket_of)(user, "abc")
    await socket.send(text=json.dumps({"action": "subscribe", "job_id": "abc", "ticket": ticket}))
    assert (await socket.receive())["type"] == "event"
    await socket.send(text='{"action": "subscribe_jobs"}')
    while (message := await socket.receive())["type"] != "error":
        pass
    assert "ticket" in message["detail"]
    await socket.disconnect()


async def test_disconnect_leaves_no_task_and_no_channel(user, layer):
    before = asyncio.all_tasks()
    await cookie_of(user)
    async with open_list(user):
        pass
    await wait_until_gone(lambda: asyncio.all_tasks() - before)
    if (there := get_channel_layer()) is not None:
        connection = there.connection(0)
        assert await connection.zcard(there._group_key(notifier.GROUP)) == 0
        await there.close_pools()


async def test_in_memory_layer(user, settings, monkeypatch):
    monkeypatch.setattr(job_list, "_POLL_SECONDS", 60)
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    async with open_list(user) as socket:
        await in_thread(services.job_create)(job_id="abc", task_type="manual", owner=user)
        await received(socket, "abc")


# A process that sends notifications and exits, and so does its forked child.
NOTIFYING_SCRIPT = """
import os
import django
django.setup()
from jobs.live.notifier import change_notifier
from jobs.models import Job
change_notifier.on_change(Job(job_id="first"))
if not (child := os.fork()):
    change_notifier.on_change(Job(job_id="of the child"))
    change_notifier.close()
    os._exit(0)
os.waitpid(child, 0)
change_notifier.on_change(Job(job_id="last"))
"""


async def test_processes_send_notifications_before_they_exit(settings, redis_server, monkeypatch):
    hosts = [{"address": redis_server.url, "socket_timeout": None}]
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": hosts}}
    }
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(notifier.GROUP, channel)
    given = {"DJANGO_SETTINGS_MODULE": "config.settings", "REDIS_URL": redis_server.url}
    script = [sys.executable, "-c", NOTIFYING_SCRIPT]
    process = await asyncio.create_subprocess_exec(*script, env={**os.environ, **given})
    assert await process.wait() == 0
    async with asyncio.timeout(TIMEOUT_SECONDS):
        received = {(await layer.receive(channel))["job_id"] for _ in range(3)}
    assert received == {"first", "of the child", "last"}
    await layer.close_pools()
