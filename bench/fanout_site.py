"""Server of `bench.fanout`, `bench.latency` and `bench.idle`: delivers events in three ways."""

import asyncio
import os
from typing import Any

import django
import redis.asyncio
from django.conf import settings

REDIS_URL = os.environ["REDIS_URL"]
JOB = "bench"
HOST = {"address": REDIS_URL, "socket_timeout": None, "max_connections": 10_000}

settings.configure(
    INSTALLED_APPS=["events"],
    JOB_EVENTS={"REDIS_URL": REDIS_URL},
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}},
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [HOST], "capacity": 100_000},
        }
    },
    LOGGING_CONFIG=None,
)
django.setup()

# ruff: noqa: E402 - these imports need loaded apps
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path

from events.live import subscribe
from events.live.frames import SSE_CONTENT_TYPE
from events.metrics import instruments

if os.environ.get("BENCH_METRICS") == "0":
    instruments.IS_INSTALLED = False  # as without the extra


class QueueFanout:
    """Bare fan-out: one XREAD loop copies each entry into a queue per viewer."""

    def __init__(self) -> None:
        self.queues: set[asyncio.Queue[str]] = set()
        self._task: asyncio.Task[None] | None = None

    def add(self) -> "asyncio.Queue[str]":
        """Add a queue for a new viewer."""
        self._task = self._task or asyncio.create_task(self._fill())
        queue: asyncio.Queue[str] = asyncio.Queue()
        self.queues.add(queue)
        return queue

    async def _fill(self) -> None:
        client = redis.asyncio.Redis.from_url(REDIS_URL, socket_timeout=None)
        last: Any = "$"
        while True:
            answer: Any = await client.xread({f"job_events:{JOB}": last}, count=100, block=1000)
            for _, entries in answer:
                for entry_id, fields in entries:
                    last, text = entry_id, fields[b"data"].decode()
                    for queue in self.queues:
                        queue.put_nowait(text)


fanout = QueueFanout()


class LiveConsumer(AsyncWebsocketConsumer):
    """Delivers by `events.live.subscribe`."""

    async def connect(self) -> None:
        """Deliver in a task, like `jobs.live.consumers`."""
        await self.accept()
        self.task = asyncio.create_task(self.deliver())

    async def deliver(self) -> None:
        async with subscribe(JOB) as subscriber:
            while True:
                for message in await subscriber.next():
                    await self.send(message.text)

    async def disconnect(self, code: int) -> None:
        self.task.cancel()


class BareConsumer(LiveConsumer):
    """Delivers from a queue of the bare fan-out, without encoding."""

    async def deliver(self) -> None:
        queue = fanout.add()
        await self.send('{"type":"live"}')
        try:
            while True:
                await self.send(await queue.get())
        finally:
            fanout.queues.discard(queue)


class ChannelLayerConsumer(AsyncWebsocketConsumer):
    """Delivers by a group of the channel layer."""

    async def connect(self) -> None:
        await self.channel_layer.group_add(JOB, self.channel_name)
        await self.accept()
        await self.send('{"type":"live"}')

    async def event(self, message: dict[str, str]) -> None:
        await self.send(message["text"])

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(JOB, self.channel_name)


async def stream(scope: Any, receive: Any, send: Any) -> None:
    """Stream until the client disconnects."""
    sending: Any = asyncio.create_task(stream_events(scope, send))
    while (await receive())["type"] != "http.disconnect":
        pass
    sending.cancel()


async def stream_events(scope: Any, send: Any) -> None:
    """SSE over raw ASGI: `/sse/bare/` by the bare fan-out, `/sse/ours/` by `events.live`."""
    headers = [(b"content-type", SSE_CONTENT_TYPE.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def body(data: bytes) -> None:
        await send({"type": "http.response.body", "body": data, "more_body": True})

    if "bare" in scope["path"]:
        queue = fanout.add()
        await body(b"event: live\ndata: {}\n\n")
        while True:
            await body(b"data: %s\n\n" % (await queue.get()).encode())
    async with subscribe(JOB) as subscriber:
        while True:
            await body(b"".join([message.frame for message in await subscriber.next()]))


consumers = {"ours": LiveConsumer, "bare": BareConsumer, "layer": ChannelLayerConsumer}
sockets = URLRouter([path(f"{name}/", each.as_asgi()) for name, each in consumers.items()])
application = ProtocolTypeRouter({"http": stream, "websocket": sockets})
