"""The site as processes, with its own Redis and database."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import TypeVar

import httpx

from events.integrations.uvicorn import OPTIONS
from events.testing.redis_server import EmbeddedRedis

ROOT = Path(__file__).resolve().parent.parent.parent

# One process for both steps: starting a process takes a second.
TABLES_SCRIPT = """
from django.contrib.auth import get_user_model
from django.core.management import call_command
call_command("migrate", verbosity=0)
users = get_user_model().objects
users.create_superuser("demo", password="demo")
users.create_user("anna", password="anna")
users.create_user("bert", password="bert")
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float = 40) -> None:
    deadline = monotonic() + seconds
    while True:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or monotonic() > deadline:
            raise RuntimeError(f"the server on port {port} did not start")
        sleep(0.05)


SomeSite = TypeVar("SomeSite", bound="Site")


class Site:
    """The site with the users demo (staff), anna and bert; passwords equal user names."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}"
        self.redis = EmbeddedRedis(directory / "redis")
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.support.site_settings",
            "DJANGO_DEBUG": "0",
            "REDIS_URL": self.redis.url,
            "DATABASE_URL": f"sqlite:///{directory / 'site.sqlite3'}",
            "OFFLINE_TOKEN_DELAY": "0.002",
            "JOB_EVENTS_DEMO": "1",
        }
        self.environment.pop("CHAT_MODEL", None)
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self, *, worker: bool = True) -> None:
        self.prepare()
        self.start_processor()
        if worker:
            self.start_worker()
        self.start_web()

    def prepare(self) -> None:
        """Start Redis; create tables and users."""
        self.redis.start()
        self.manage("shell", "--verbosity", "0", "-c", TABLES_SCRIPT)

    def start_processor(self) -> subprocess.Popen[bytes]:
        return self._spawn("processor", "manage.py", "process_events")

    def start_worker(self) -> None:
        self._spawn("worker", "-m", "celery", "-A", "config", "worker", "--concurrency", "2")

    def start_web(self, *options: str) -> subprocess.Popen[bytes]:
        options = options or ("--timeout-graceful-shutdown", "1")
        arguments = ["config.asgi:application", "--port", str(self.port), *OPTIONS, *options]
        web = self._spawn("web", "-m", "uvicorn", *arguments)
        wait_for_port(self.port, web)
        return web

    def manage(self, *arguments: str) -> str:
        """Run a management command; return its output."""
        command = [sys.executable, "manage.py", *arguments]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=self.environment, check=True, capture_output=True, text=True
            )
        except subprocess.CalledProcessError as error:
            error.add_note(f"{error.stdout}{error.stderr}")
            raise
        return done.stdout

    def _spawn(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._children.append(child)
        return child

    def log_of(self, name: str = "web") -> str:
        """Return the log file of a process."""
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def stop_child(self, child: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> None:
        child.send_signal(number)
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        self._children.remove(child)

    def stop(self) -> None:
        for child in list(self._children):
            self.stop_child(child)
        self.redis.stop()

    def session(self, user: str = "demo") -> httpx.Client:
        """Return a client that has logged in on the login page."""
        client = self._client()
        token = client.get("/jobs/login/").cookies["csrftoken"]
        form = {"username": user, "password": user, "csrfmiddlewaretoken": token}
        response = client.post("/jobs/login/", data=form, headers={"Referer": self.url})
        if response.status_code != httpx.codes.FOUND:
            client.close()
            raise RuntimeError(f"{user} could not log in: {response.text[:200]}")
        return client

    def cookie(self, user: str = "demo") -> dict[str, str]:
        """Return the header of a new session."""
        with closing(self.session(user)) as client:
            return {"Cookie": f"sessionid={client.cookies['sessionid']}"}

    def client(self, user: str = "demo") -> httpx.Client:
        return self._client(auth=(user, user))

    def _client(self, auth: tuple[str, str] | None = None) -> httpx.Client:
        # Plain HTTP: loading the certificates would take longer than the requests.
        return httpx.Client(base_url=self.url, auth=auth, timeout=30, verify=False)


@contextmanager
def started(kind: type[SomeSite], directory: Path) -> Iterator[SomeSite]:
    """Start a site in a new folder, and stop it afterwards."""
    directory.mkdir()
    site = kind(directory)
    try:
        site.start()
        yield site
    finally:
        site.stop()
