"""HTTP and WebSocket clients of the ASGI application, without a server."""

import asyncio
import json
import math
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from asgiref.testing import ApplicationCommunicator
from django.test import AsyncClient

from config.asgi import application
from jobs.access.logins import logins_of
from jobs.access.tickets import make_ticket
from jobs.models import Job

ORIGIN = b"http://localhost"
TIMEOUT_SECONDS = 20
STREAM = "/api/jobs/abc/events/stream/"


class Request:
    """One HTTP request to an ASGI application."""

    def __init__(self, app=application, path=STREAM, cookie="", max_messages=math.inf, **headers):
        """Send the request; the client stops reading after `max_messages` messages."""
        self.sent, self.updated, self._max_messages = [], asyncio.Event(), max_messages
        self._inbox = asyncio.Queue()
        self._inbox.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        path, _, query = path.partition("?")
        all_headers = {"cookie": cookie, "host": "localhost", **headers}
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in all_headers.items()],
        }
        self.task = asyncio.create_task(app(scope, self._inbox.get, self._send))

    async def _send(self, message):
        self.sent.append(message)
        self.updated.set()
        if len(self.sent) >= self._max_messages:
            await asyncio.Event().wait()

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.sent)

    async def receive(self, count):
        """Wait for more than `count` messages of the response."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while len(self.sent) <= count:
                self.updated.clear()
                await self.updated.wait()

    async def until(self, text):
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while text not in self.body:
                await self.receive(len(self.sent))

    async def status(self):
        """Return the status of the response; wait for the end of an error response."""
        await self.receive(0)
        if self.sent[0]["status"] != HTTPStatus.OK:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await self.task
        return self.sent[0]["status"]

    async def disconnect(self):
        self._inbox.put_nowait({"type": "http.disconnect"})
        await asyncio.wait([self.task], timeout=TIMEOUT_SECONDS)
        assert self.task.done()


async def cookie_of(user):
    client = AsyncClient()
    await client.aforce_login(user)
    return "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())


async def log_out(cookie):
    """End the session of a cookie."""
    client = AsyncClient()
    client.cookies.load(cookie)
    await client.alogout()


def ticket_of(user, job_id="abc", session=None):
    """Return a ticket that was obtained with a session or, by default, with a password."""
    return make_ticket(Job.objects.get(job_id=job_id), user, logins_of(user, session))


class Socket(ApplicationCommunicator):
    """One WebSocket; the communicator of Channels requires daphne."""

    def __init__(self, path, headers):
        parts = urlsplit(path)
        scope = {
            "type": "websocket",
            "path": unquote(parts.path),
            "query_string": parts.query.encode(),
            "headers": headers,
            "subprotocols": [],
        }
        super().__init__(application, scope)

    async def connect(self):
        """Return None, or the close code of a rejected handshake."""
        await self.send_input({"type": "websocket.connect"})
        message = await self.receive_output(TIMEOUT_SECONDS)
        return message.get("code", 1000) if message["type"] == "websocket.close" else None

    async def send(self, **data):
        await self.send_input({"type": "websocket.receive", **data})

    async def receive(self):
        message = await self._output()
        assert message["type"] == "websocket.send", message
        return json.loads(message["text"])

    async def _output(self):
        """Return the next message, without keep-alives."""
        while True:
            message = await self.receive_output(TIMEOUT_SECONDS)
            if "keep-alive" not in message.get("text", ""):
                return message

    async def until(self, last):
        """Receive messages until a label; return the labels."""
        labels = []
        while last not in labels:
            labels.append(label(await self.receive()))
        return labels

    async def close_code(self):
        """Receive the close, disconnect as a server does then, and return its code."""
        message = await self._output()
        assert message["type"] == "websocket.close", message
        await self.disconnect()
        return message["code"]

    async def disconnect(self):
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(TIMEOUT_SECONDS)


async def open_stream(path=STREAM, **headers):
    """Connect to an SSE stream, and receive it up to `live`."""
    request = Request(path=path, **headers)
    await request.until(b"event: live")
    return request


async def open_socket(path="/ws/jobs/abc/", cookie="", message=None):
    """Connect to a socket, send the message, and receive up to `live`."""
    socket = Socket(path, [(b"origin", ORIGIN), (b"cookie", cookie.encode())])
    assert await socket.connect() is None
    if message is not None:
        await socket.send(text=json.dumps(message))
    await socket.until("live")
    return socket


async def socket_of(user, path="/ws/jobs/abc/", origin=ORIGIN):
    """Return a socket with a session of the user, not yet connected."""
    cookie = await cookie_of(user) if user is not None else ""
    headers = [(b"cookie", cookie.encode())] + ([(b"origin", origin)] if origin else [])
    return Socket(path, headers)


def label(message):
    """Return the number of an event, or the name of another message."""
    if message["type"] == "event":
        return message["event"]["data"].get("n", 0)
    return message["type"]


async def wait_until_gone(remaining):
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while remaining():  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(0.01)
