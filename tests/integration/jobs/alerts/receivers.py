"""HTTP and SMTP servers that receive alert messages, and messages to deliver."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any

from django.core import mail

from events.database import database_now
from jobs.alerts.channels import delivery_channels
from jobs.models import AlertDelivery, AlertMessage
from tests.support.site import free_port

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_EMAIL_SETTINGS = {
    "host": "EMAIL_HOST",
    "port": "EMAIL_PORT",
    "password": "EMAIL_HOST_PASSWORD",
    "timeout": "EMAIL_TIMEOUT",
}
ALERTS = [
    {
        "subject": "abc",
        "summary": "Job abc <b>failed</b>.",
        "value": 0.5,
        "since": "2026-11-26T10:00:00+00:00",
        "url": "https://jobs.example.org/jobs/job/abc/",
    }
]


@dataclass
class Receiver:
    """An HTTP server that records POST requests, and responds with `status`.

    `respond` writes another response to the connection.
    """

    host: str = "127.0.0.1"
    status: int = 204
    respond: Callable[[Any], None] | None = None
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/hooks/path-of-secret?key=query-of-secret"

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for _path, headers, _body in self.requests]

    def channel(self, **config: Any) -> dict[str, Any]:
        config = {"url": self.url, "allow_private": True, **config}
        return {"kind": "webhook", "secret": SECRET, **config}

    @contextmanager
    def running(self, certificate: tuple[Path, Path] | None = None) -> Iterator[None]:
        server = _Server((self.host, self.port), partial(_Handler, self))
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_arguments: Any) -> None:
        """The client has closed the connection."""


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, receiver: Receiver, *arguments: Any) -> None:
        self.receiver = receiver
        super().__init__(*arguments)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.receiver.requests.append((self.path, headers, body))
        if self.receiver.respond:
            self.receiver.respond(self.wfile)
            return
        self.send_response(self.receiver.status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        pass


class Mailbox:
    """Handler of aiosmtpd that keeps the content of messages."""

    def __init__(self) -> None:
        self.contents: list[bytes] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        self.contents.append(envelope.content)
        return "250 OK"


def use_backend(settings: Any, backend: str, **options: Any) -> None:
    """Select an e-mail backend with the settings of this version of Django."""
    path = f"django.core.mail.backends.{backend}.EmailBackend"
    if hasattr(mail, "mailers"):
        settings.MAILERS = {"default": {"BACKEND": path, "OPTIONS": options}}
        return
    settings.EMAIL_BACKEND = path
    for name, value in options.items():
        setattr(settings, _EMAIL_SETTINGS[name], value)


def make_message(*channels: str, state: str = "firing", **body: Any) -> AlertMessage:
    """Create a message with its deliveries, which are due; without names, to all channels."""
    now = database_now()
    body = {
        "rule": "failures",
        "kind": "failure_rate",
        "state": state,
        "count": 1,
        "firing": 3,
        "alerts": ALERTS,
        "monitor": "https://jobs.example.org/jobs/monitor/",
        **body,
    }
    fields = {name: body[name] for name in ("rule", "state", "count")}
    message = AlertMessage.objects.create(body=body, created_at=now, **fields)
    for channel in channels or delivery_channels([]):
        AlertDelivery.objects.create(message=message, channel=channel, next_at=now)
    return message


def make_due(seconds: float = 1) -> None:
    """Let all open deliveries be due."""
    due = database_now() - timedelta(seconds=seconds)
    AlertDelivery.objects.exclude(next_at=None).update(next_at=due)


def until(condition: Callable[[], Any], seconds: float = 10) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "the condition is not met"
        sleep(0.02)
