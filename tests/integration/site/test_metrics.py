"""Metrics of real processes: two web processes, a Celery worker, a processor, and their ports."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import httpx
import pytest
import yaml

from tests.support.metrics import value_of
from tests.support.need import need
from tests.support.site import ROOT, Site, free_port, started

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
        return httpx.get(url, timeout=TIMEOUT_SECONDS, verify=False).raise_for_status().text


@pytest.fixture(scope="module")
def measured(session_tmp: Path) -> Iterator[MetricsSite]:
    with started(MetricsSite, session_tmp / "measured") as site:
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

    def archived() -> float:  # at the last heartbeat
        text = measured.metrics_of("processor")
        return value_of(text, "loop_events_total", loop="archiver")

    eventually(lambda: archived() > 0)
    assert completed_runs(measured.metrics_of("processor")) >= 1
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


@pytest.fixture
def prometheus(request, measured, tmp_path):
    """A Prometheus that reads all targets every two seconds; returns a function that queries it."""
    need(request, shutil.which("prometheus"), "prometheus")
    hosts = [f"127.0.0.1:{port}" for port in measured.ports.values()]
    web = [measured.url.removeprefix("http://")]
    password = {"basic_auth": {"username": "demo", "password": "demo"}}
    configuration = {
        "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"},
        "rule_files": [str(ROOT / "docs" / "prometheus-alerts.yml")],
        "scrape_configs": [
            {"job_name": "web", "static_configs": [{"targets": web}], **password},
            {"job_name": "hosts", "static_configs": [{"targets": hosts}]},
        ],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    address = f"127.0.0.1:{free_port()}"
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            ["prometheus", f"--config.file={tmp_path}/prometheus.yml",
             f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address={address}"],
            stdout=log, stderr=log,
        )  # fmt: skip

    def query(expression: str) -> list[dict]:
        try:
            url = f"http://{address}/api/v1/query"
            response = httpx.get(url, params={"query": expression}, timeout=5)
            return response.raise_for_status().json()["data"]["result"]
        except httpx.HTTPError:
            return []

    yield query
    process.terminate()
    process.wait(20)


def test_prometheus_reads_all_targets(measured, job_id, prometheus):
    eventually(lambda: len(prometheus("up == 1")) == 3)
    # A read may take longer than its timeout while other tests run.
    eventually(lambda: len(prometheus("job_events_database_up == 1")) == 2)
    runs = 'sum(job_events_task_runs_total{outcome="completed", job="web"}) >= 1'
    eventually(lambda: prometheus(runs))
    # Pending until the first read.
    alerts = 'ALERTS{alertname=~"JobEventsDown|JobEventsNotMeasured"}'
    eventually(lambda: not prometheus(alerts))


def test_scrapes_use_openmetrics(measured):
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    with measured.client("demo") as client:
        response = client.get("/metrics", headers=accept)
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
