"""A browser's side of what it asks of the site, without a server between them."""

import asyncio
import json
import math
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from asgiref.testing import ApplicationCommunicator
from django.test import AsyncClient

from config.asgi import application

ORIGIN = b"http://localhost"
PATIENCE = 20
STREAM = "/api/jobs/abc/events/stream/"


class Request:
    """A browser's side of one request to an ASGI application."""

    def __init__(self, asked=application, path=STREAM, cookie="", takes=math.inf, **headers):
        """Of a client who takes so many messages of the answer, and no more."""
        self.sent, self.news, self._takes = [], asyncio.Event(), takes
        self._inbox = asyncio.Queue()
        self._inbox.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        path, _, query = path.partition("?")
        given = {"cookie": cookie, "host": "localhost", **headers}
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        }
        self.task = asyncio.create_task(asked(scope, self._inbox.get, self._send))

    async def _send(self, message):
        self.sent.append(message)
        self.news.set()
        if len(self.sent) >= self._takes:
            await asyncio.Event().wait()

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.sent)

    async def until(self, text):
        async with asyncio.timeout(PATIENCE):
            while text not in self.body:
                self.news.clear()
                await self.news.wait()

    async def status(self):
        """The status of the answer; of one that is no stream, once Django is done with it."""
        async with asyncio.timeout(PATIENCE):
            while not self.sent:
                self.news.clear()
                await self.news.wait()
            if self.sent[0]["status"] != HTTPStatus.OK:
                await self.task
        return self.sent[0]["status"]

    async def hang_up(self):
        self._inbox.put_nowait({"type": "http.disconnect"})
        await asyncio.wait([self.task], timeout=PATIENCE)
        assert self.task.done()


async def cookie_of(user):
    client = AsyncClient()
    await client.aforce_login(user)
    return "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())


class Socket(ApplicationCommunicator):
    """A viewer's side of the consumer; Channels' own class for this needs daphne."""

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
        """None, or the code with which the server refused."""
        await self.send_input({"type": "websocket.connect"})
        answer = await self.receive_output(PATIENCE)
        return answer.get("code", 1000) if answer["type"] == "websocket.close" else None

    async def say(self, **data):
        await self.send_input({"type": "websocket.receive", **data})

    async def hear(self):
        message = await self._output()
        assert message["type"] == "websocket.send", message
        return json.loads(message["text"])

    async def _output(self):
        """What the server sends, but for signs of life."""
        while True:
            message = await self.receive_output(PATIENCE)
            if "keep-alive" not in message.get("text", ""):
                return message

    async def until(self, wanted):
        """What comes up to the wanted: numbers of events, names of other messages."""
        found = []
        while wanted not in found:
            found.append(seen(await self.hear()))
        return found

    async def closing(self):
        """The code with which the server closes."""
        message = await self._output()
        assert message["type"] == "websocket.close", message
        return message["code"]

    async def leave(self):
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(PATIENCE)


async def socket_of(user, path="/ws/jobs/abc/", origin=ORIGIN):
    """A socket of a browser in which the user is logged in; not yet connected."""
    cookie = await cookie_of(user) if user is not None else ""
    headers = [(b"cookie", cookie.encode())] + ([(b"origin", origin)] if origin else [])
    return Socket(path, headers)


def seen(message):
    """The number of an event, the name of anything else."""
    if message["type"] == "event":
        return message["event"]["data"].get("n", 0)
    return message["type"]


async def gone(left):
    async with asyncio.timeout(PATIENCE):
        while left():  # noqa: ASYNC110 - nothing tells when it is so
            await asyncio.sleep(0.01)
