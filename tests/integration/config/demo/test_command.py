"""`manage.py demo` starts all processes, and the first signal stops them."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.site import ROOT, free_port

pytestmark = pytest.mark.timeout(180)


def descendants(pid: int) -> set[int]:
    """The processes below `pid`, from /proc."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Demo:
    def __init__(self, directory: Path, port: int, **environment: str) -> None:
        self.port = port
        self.output = directory / "output"
        own = ("REDIS_URL", "DATABASE_URL", "DJANGO")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(own)}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "demo", "--port", str(port)],
                cwd=ROOT,
                env={
                    **inherited,
                    "LOCAL_DIR": str(directory / "local"),
                    "JOB_EVENTS_DEMO": "1",
                    "OFFLINE_TOKEN_DELAY": "0",
                    **environment,
                },
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def printed(self) -> str:
        return self.output.read_text()

    def wait_until_printed(self, text: str) -> None:
        deadline = time.monotonic() + 60
        while text not in self.printed():
            assert self.process.poll() is None, self.printed()
            assert time.monotonic() < deadline, self.printed()
            time.sleep(0.1)

    def client(self) -> httpx.Client:
        url = f"http://127.0.0.1:{self.port}"
        return httpx.Client(base_url=url, auth=("demo", "demo"), timeout=30)

    def end(self, number: int = signal.SIGINT) -> tuple[int, set[int]]:
        """Send a signal, wait, and return the exit code and the processes that still run."""
        started = descendants(self.process.pid)
        self.process.send_signal(number)
        code = self.process.wait(60)
        # A killed process is reaped by init, later than its parent exits.
        deadline = time.monotonic() + 5
        while (left := {pid for pid in started if is_alive(pid)}) and time.monotonic() < deadline:
            time.sleep(0.05)
        return code, left


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="jd", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


@pytest.fixture
def started() -> Iterator[list[Demo]]:
    demos: list[Demo] = []
    yield demos
    for demo in demos:
        if demo.process.poll() is None:
            demo.end(signal.SIGTERM)


def test_it_runs_a_job_and_leaves_no_process(directory, started):
    demo = Demo(directory, free_port())
    started.append(demo)
    demo.wait_until_printed(f"Open http://127.0.0.1:{demo.port}/ and log in as demo / demo")
    assert len(descendants(demo.process.pid)) >= 4
    with demo.client() as client:
        payload = {"task_prompt": "Tea: leaves, water, time"}
        body = {"task_type": "outline_generation", "job_id": "kept", "payload": payload}
        client.post("/api/jobs/", json=body).raise_for_status()
        while client.get("/api/jobs/kept/").json()["status"] != "completed":
            time.sleep(0.2)
        events = client.get("/api/jobs/kept/events/").json()["results"]
        assert client.get("/admin/", follow_redirects=True).status_code == 200
        assert client.get("/static/job_events_jobs/jobs.css").status_code == 200
        missing = client.get("/missing/")
        assert (missing.status_code, "DEBUG" in missing.text) == (404, False)
    code, left = demo.end(signal.SIGINT)
    assert (code, left) == (0, set())
    assert "Stopped" in demo.printed()

    again = Demo(directory, free_port())
    started.append(again)
    again.wait_until_printed("Open http")
    with again.client() as client:
        assert client.get("/api/jobs/kept/").json()["status"] == "completed"
        assert client.get("/api/jobs/kept/events/").json()["results"] == events
    second = Demo(directory, free_port())
    started.append(second)
    assert second.process.wait(60) == 1
    assert "another demo runs in this directory" in second.output.read_text()


@pytest.mark.extended
@pytest.mark.parametrize(
    ("word", "name"), [("uvicorn", "web server"), ("process_events", "event processor")]
)
def test_killed_child_is_reported_and_the_others_are_stopped(directory, started, word, name):
    demo = Demo(directory, free_port())
    started.append(demo)
    demo.wait_until_printed("Open http")
    pids = descendants(demo.process.pid)
    (child,) = [p for p in pids if word in Path(f"/proc/{p}/cmdline").read_text()]
    os.kill(child, signal.SIGKILL)
    assert demo.process.wait(60) == 1
    assert f"The {name} exited with code -9" in demo.printed()
    assert not {pid for pid in pids if is_alive(pid)}


def test_port_in_use_is_reported(directory):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        demo = Demo(directory, port)
        assert demo.process.wait(60) == 1
    assert f"Port {port} cannot be used" in demo.printed()
    assert f"make demo PORT={port + 1}" in demo.printed()
    assert "Traceback" not in demo.printed()


def test_unreachable_redis_is_reported(directory):
    url = f"redis://:hunter2@127.0.0.1:{free_port()}/0"
    demo = Demo(directory, free_port(), REDIS_URL=url)
    assert demo.process.wait(60) == 1
    assert "No Redis answers at REDIS_URL" in demo.printed()
    assert "hunter2" not in demo.printed()
    assert "Traceback" not in demo.printed()


def test_signal_during_the_start_stops_all_processes(directory):
    demo = Demo(directory, free_port())
    demo.wait_until_printed("Starting the web server")
    code, left = demo.end(signal.SIGINT)
    assert (code, left) == (0, set())


def test_configured_database_is_not_used(directory):
    demo = Demo(directory, free_port(), DATABASE_URL=f"sqlite:///{directory / 'mine.sqlite3'}")
    assert demo.process.wait(60) == 1
    assert "DATABASE_URL is set" in demo.printed()
    assert not (directory / "mine.sqlite3").exists()
