"""Metrics of real processes: two web processes, a Celery worker, a processor, and their ports."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import httpx
import pytest

from tests.support.metrics import value_of
from tests.support.site import Site, free_port, started

pytestmark = pytest.mark.timeout(180)

TIMEOUT_SECONDS = 40


class MetricsSite(Site):
    """The site with two web processes and ports for metrics."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.ports = {"processor": free_port(), "host": free_port()}
        self.environment["PROMETHEUS_MULTIPROC_DIR"] = str(directory / "metrics")

    def start(self, *, worker: bool = True) -> None:
        self.prepare()
        port = str(self.ports["processor"])
        self._spawn("processor", "manage.py", "process_events", "--metrics-port", port)
        self.start_worker()
        self.start_web("--workers", "2", "--timeout-graceful-shutdown", "1")
        self._spawn("host", "manage.py", "serve_metrics", "--port", str(self.ports["host"]))

    def metrics(self) -> str:
        with self.client("demo") as client:
            response = client.get("/metrics")
        response.raise_for_status()
        return response.text

    def metrics_of(self, port: str) -> str:
        url = f"http://127.0.0.1:{self.ports[port]}/metrics"
        return httpx.get(url, timeout=TIMEOUT_SECONDS).raise_for_status().text


@pytest.fixture(scope="module")
def measured(short_tmp: Path) -> Iterator[MetricsSite]:
    with started(MetricsSite, short_tmp / "measured") as site:
        yield site


def eventually(condition: Callable[[], object]) -> None:
    deadline = monotonic() + TIMEOUT_SECONDS
    while not (found := condition()):
        assert monotonic() < deadline, found
        sleep(0.2)


@pytest.fixture(scope="module")
def job_id(measured: MetricsSite) -> str:
    """A job that the worker has executed."""
    body = {"task_type": "outline_generation", "payload": {"task_prompt": "Write about tea."}}
    with measured.client("anna") as client:
        job_id = str(client.post("/api/jobs/", json=body).raise_for_status().json()["job_id"])
        url = f"/api/jobs/{job_id}/"
        eventually(lambda: client.get(url).json()["status"] in {"completed", "failed"})
    return job_id


def completed_runs(text: str) -> float:
    return value_of(text, "task_runs_total", queue="celery", outcome="completed")


def test_worker_counts_in_each_web_process(measured, job_id):
    eventually(lambda: completed_runs(measured.metrics()) >= 1)
    # uvicorn distributes the connections over its processes.
    texts = [measured.metrics() for _ in range(12)]
    assert {completed_runs(text) for text in texts} == {completed_runs(texts[0])}
    published = {value_of(text, "published_events_total") for text in texts}
    assert len(published) == 1
    assert published.pop() > 3
    assert all(value_of(text, "database_up") == 1 for text in texts)
    assert not any(job_id in text for text in texts)


def test_port_of_the_processor(measured, job_id):
    eventually(lambda: value_of(measured.metrics_of("processor"), "processors") == 1)
    text = measured.metrics_of("processor")
    assert value_of(text, "loop_events_total", loop="archiver") > 0
    assert completed_runs(text) >= 1
    url = f"http://127.0.0.1:{measured.ports['processor']}/other"
    assert httpx.get(url).status_code == 404


def test_port_of_a_host(measured, job_id):
    eventually(lambda: completed_runs(measured.metrics_of("host")) >= 1)
    assert "job_events_database_up" not in measured.metrics_of("host")


def test_subscribers_of_a_killed_web_process_are_not_counted(measured, job_id):
    """The stream of a manual job stays open until its process is killed."""
    with measured.client("anna") as client:
        body = {"task_type": "by_hand"}
        manual = client.post("/api/jobs/", json=body).raise_for_status().json()["job_id"]
    ended = threading.Event()

    def read() -> None:
        try:
            with (
                measured.client("anna") as client,
                client.stream("GET", f"/api/jobs/{manual}/events/stream/") as stream,
            ):
                for _ in stream.iter_lines():
                    pass
        except httpx.HTTPError:
            pass
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    eventually(lambda: value_of(measured.metrics(), "subscribers", transport="sse") == 1)
    for pid in gauges_of(measured):
        os.kill(pid, signal.SIGKILL)
    assert ended.wait(TIMEOUT_SECONDS)

    def subscribers() -> float | None:
        try:
            return value_of(measured.metrics(), "subscribers", transport="sse")
        except httpx.HTTPError:  # uvicorn starts other processes
            return None

    eventually(lambda: subscribers() == 0)
    assert completed_runs(measured.metrics()) >= 1


def gauges_of(site: MetricsSite) -> list[int]:
    """Return the processes that have counted subscribers."""
    names = (site.directory / "metrics").glob("gauge_livesum_*.db")
    return [int(path.stem.rpartition("_")[2]) for path in names if _is_web(path)]


def _is_web(path: Path) -> bool:
    pid = path.stem.rpartition("_")[2]
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False
    return b"serve_metrics" not in command and b"process_events" not in command


def test_scrapes_use_openmetrics(measured):
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    with measured.client("demo") as client:
        response = client.get("/metrics", headers=accept)
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
