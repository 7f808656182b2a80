"""The server of `bench.fanout`: one consumer, given its events in three ways."""

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

# ruff: noqa: E402 - these need the apps to be loaded
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path

from events.live import subscribe
from events.live.frames import SSE_CONTENT_TYPE


class Queues:
    """The bare way: what comes by one XREAD is put into a queue for each viewer."""

    def __init__(self) -> None:
        self.all: set[asyncio.Queue[str]] = set()
        self._task: asyncio.Task[None] | None = None

    def new(self) -> "asyncio.Queue[str]":
        """A queue for one more viewer."""
        self._task = self._task or asyncio.create_task(self._fill())
        queue: asyncio.Queue[str] = asyncio.Queue()
        self.all.add(queue)
        return queue

    async def _fill(self) -> None:
        client = redis.asyncio.Redis.from_url(REDIS_URL)
        last: Any = "$"
        while True:
            answer: Any = await client.xread({f"job_events:{JOB}": last}, count=100, block=1000)
            for _, entries in answer:
                for entry_id, fields in entries:
                    last, text = entry_id, fields[b"data"].decode()
                    for queue in self.all:
                        queue.put_nowait(text)


queues = Queues()


class Ours(AsyncWebsocketConsumer):
    """A viewer of the job's log."""

    async def connect(self) -> None:
        """Deliver in a task, as `jobs.live.consumers` does."""
        await self.accept()
        self.task = asyncio.create_task(self.deliver())

    async def deliver(self) -> None:
        """Send what comes."""
        async with subscribe(JOB) as viewer:
            while True:
                for message in await viewer.next():
                    await self.send(message.text)

    async def disconnect(self, code: int) -> None:
        """Stop."""
        self.task.cancel()


class Bare(Ours):
    """A queue each, and texts that are sent as they are."""

    async def deliver(self) -> None:
        """Send what comes."""
        queue = queues.new()
        await self.send('{"type":"live"}')
        try:
            while True:
                await self.send(await queue.get())
        finally:
            queues.all.discard(queue)


class Layer(AsyncWebsocketConsumer):
    """The usual way: a group of the channel layer."""

    async def connect(self) -> None:
        """Join."""
        await self.channel_layer.group_add(JOB, self.channel_name)
        await self.accept()
        await self.send('{"type":"live"}')

    async def event(self, message: dict[str, str]) -> None:
        """Send what the group is sent."""
        await self.send(message["text"])

    async def disconnect(self, code: int) -> None:
        """Leave."""
        await self.channel_layer.group_discard(JOB, self.channel_name)


async def stream(scope: Any, _receive: Any, send: Any) -> None:
    """SSE as raw ASGI: `/sse/bare/` as the bare sockets are, `/sse/ours/` as ours."""
    headers = [(b"content-type", SSE_CONTENT_TYPE.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def body(data: bytes) -> None:
        await send({"type": "http.response.body", "body": data, "more_body": True})

    if "bare" in scope["path"]:
        queue = queues.new()
        await body(b"event: live\ndata: {}\n\n")
        while True:
            await body(b"data: %s\n\n" % (await queue.get()).encode())
    async with subscribe(JOB) as viewer:
        while True:
            await body(b"".join([message.frame for message in await viewer.next()]))


ways = {"ours": Ours, "bare": Bare, "layer": Layer}
sockets = URLRouter([path(f"{name}/", way.as_asgi()) for name, way in ways.items()])
application = ProtocolTypeRouter({"http": stream, "websocket": sockets})
