"""Readers of every transport that resume after a disconnect and are compared with history."""

import asyncio
import json
import random
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from http import HTTPStatus
from time import monotonic, sleep
from typing import Any

from django.test import Client

from config.asgi import application
from events.live import follow
from events.live.messages import Reset
from events.streams.clients import close_async_redis
from events.types import Cursor, Event
from tests.faults.loss import JOB

TIMEOUT_SECONDS = 30.0
_CONNECTED_SECONDS = 0.5


class Received:
    """Events that one reader received since its last reset."""

    def __init__(self, name: str, after: str = "0") -> None:
        self.name = name
        self.start = self.cursor = after
        self.events: list[tuple[str, Any]] = []
        self.resets = 0
        self.errors: list[str] = []

    def event(self, event_id: str, data: Any) -> None:
        if Cursor.parse(event_id) <= Cursor.parse(self.cursor):
            self.errors.append(f"{event_id} after {self.cursor}")
        self.events.append((event_id, data))
        self.cursor = event_id

    def reset(self, after: str) -> None:
        cursor = Cursor.parse(after)
        self.events = [each for each in self.events if Cursor.parse(each[0]) <= cursor]
        self.cursor = after
        self.resets += 1
        if cursor < Cursor.parse(self.start):
            self.start = after

    def expected(self, log: Sequence[Event]) -> list[tuple[str, Any]]:
        start = Cursor.parse(self.start)
        return [(event.id, event.data) for event in log if event.cursor > start]


Read = Callable[[Received, str], Awaitable[None]]


async def read_by_follow(received: Received, _cookie: str) -> None:
    async with aclosing(follow(JOB, after=Cursor.parse(received.cursor))) as messages:
        async for message in messages:
            if isinstance(message, Event):
                received.event(message.id, message.data)
            elif isinstance(message, Reset):
                received.reset(message.after)


async def read_by_socket(received: Received, cookie: str) -> None:
    scope = {
        "type": "websocket",
        "path": f"/ws/jobs/{JOB}/",
        "query_string": f"after={received.cursor}".encode(),
        "headers": [(b"cookie", cookie.encode()), (b"origin", b"http://localhost")],
        "subprotocols": [],
    }

    async def send(message: Any) -> None:
        payload = json.loads(message.get("text", "{}"))
        if payload.get("type") == "event":
            received.event(payload["event"]["id"], payload["event"]["data"])
        elif payload.get("type") == "reset":
            received.reset(payload["after"])

    await _call(
        scope, {"type": "websocket.connect"}, send, {"type": "websocket.disconnect", "code": 1000}
    )


async def read_by_sse(received: Received, cookie: str) -> None:
    rest = b""

    async def send(message: Any) -> None:
        nonlocal rest
        *frames, rest = (rest + message.get("body", b"")).split(b"\n\n")
        for frame in frames:
            fields = dict(line.split(": ", 1) for line in frame.decode().splitlines())
            if "id" in fields:
                received.event(fields["id"], json.loads(fields["data"])["data"])
            elif fields.get("event") == "reset":
                received.reset(json.loads(fields["data"])["after"])

    headers = {} if received.cursor == "0" else {"last-event-id": received.cursor}
    scope = _request(f"/api/jobs/{JOB}/events/stream/", "", cookie, **headers)
    await _call(scope, {"type": "http.request"}, send, {"type": "http.disconnect"})


async def read_by_poll(received: Received, cookie: str) -> None:
    """Send one long-poll after another."""
    while True:
        status, body = 0, b""

        async def send(message: Any) -> None:
            nonlocal status, body
            status = message.get("status", status)
            body += message.get("body", b"")

        query = f"after={received.cursor}&wait=0.5&limit=50"
        scope = _request(f"/api/jobs/{JOB}/events/poll/", query, cookie)
        await _call(scope, {"type": "http.request"}, send, {"type": "http.disconnect"})
        if status == HTTPStatus.OK:
            for event in json.loads(body)["results"]:
                received.event(event["id"], event["data"])
        elif status == HTTPStatus.GONE:
            received.reset(json.loads(body)["after"])
        else:
            await asyncio.sleep(0.05)


def _request(path: str, query: str, cookie: str, **headers: str) -> dict[str, Any]:
    all_headers = {"cookie": cookie, "host": "localhost", **headers}
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in all_headers.items()],
    }


async def _call(scope: Any, first: Any, send: Any, last: Any) -> None:
    """Call the application until it returns; disconnect on cancellation."""
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    inbox.put_nowait(first)
    task = asyncio.create_task(application(scope, inbox.get, send))
    try:
        await asyncio.shield(task)
    finally:
        inbox.put_nowait(last)
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task], timeout=TIMEOUT_SECONDS)


KINDS: dict[str, Read] = {
    "follow": read_by_follow,
    "socket": read_by_socket,
    "sse": read_by_sse,
    "poll": read_by_poll,
}


class ReaderGroup:
    """Readers on an event loop in a thread, as in a server process.

    Half of the readers disconnect repeatedly and resume at their cursors.
    """

    def __init__(self, user: Any, seed: int) -> None:
        client = Client()
        client.force_login(user)
        self._cookie = "; ".join(f"{name}={m.value}" for name, m in client.cookies.items())
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._run)
        self._tasks: list[asyncio.Task[None]] = []
        self.readers: list[Received] = []

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        await self._stopped.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await close_async_redis()

    def __enter__(self) -> "ReaderGroup":
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(TIMEOUT_SECONDS)
        assert not self._thread.is_alive()

    def do(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Run a coroutine on the loop of the readers."""

        async def call() -> Any:
            return await work()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(TIMEOUT_SECONDS)

    def add(self, kind: str, after: str = "0") -> Received:
        received = Received(f"{kind} {len(self.readers)}", after)
        is_permanent = len(self.readers) % 2 == 0
        self.readers.append(received)
        self._loop.call_soon_threadsafe(self._start, KINDS[kind], received, is_permanent)
        return received

    def _start(self, read: Read, received: Received, is_permanent: bool) -> None:
        self._tasks.append(self._loop.create_task(self._read_on(read, received, is_permanent)))

    async def _read_on(self, read: Read, received: Received, is_permanent: bool) -> None:
        while True:
            seconds = None if is_permanent else self._random.random() * _CONNECTED_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await read(received, self._cookie)
            await asyncio.sleep(self._random.random() * 0.05)

    def check(self, log: Sequence[Event]) -> None:
        """Wait until each reader has the same ids, order and content as history."""
        deadline = monotonic() + TIMEOUT_SECONDS
        while self.diverged(log) and monotonic() < deadline:
            sleep(0.05)
        assert not self.diverged(log)
        assert not [each for reader in self.readers for each in reader.errors]

    def diverged(self, log: Sequence[Event]) -> list[str]:
        """Describe the readers whose log differs from history."""
        found = []
        for reader in self.readers:
            received, expected = list(reader.events), reader.expected(log)
            if received != expected:
                missing = [each[0] for each in expected if each not in received]
                unexpected = [each[0] for each in received if each not in expected]
                difference = f"missing {missing}, unexpected {unexpected}"
                found.append(f"{reader.name}: {reader.resets} resets, {difference}")
        return found
