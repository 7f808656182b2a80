"""Workers are killed at every point of the execution of a task, while subscribers follow.

Each attempt has one terminal event, and every subscriber receives it.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.support.workers import TERMINAL_STATUSES, Workers, ends, kinds

pytestmark = pytest.mark.extended

POINTS = ["before claim", "after claim", "work", "before complete", "after complete"]
# Points after the job is completed: the death of the worker has no effect.
AFTER_COMPLETION = {"after complete"}


@pytest.fixture
def watch(workers) -> Iterator:
    """Follow a job in a thread; return the received events up to the end."""

    def follow(job_id: str) -> list[dict]:
        url = f"/api/jobs/{job_id}/events/stream/"
        received: list[dict] = []
        with (
            workers.client("anna") as client,
            client.stream("GET", url, timeout=90) as response,
        ):
            name = None
            for line in response.iter_lines():
                if ended.is_set():
                    break
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data" and name is None:
                    received.append(json.loads(value)["data"])
                elif not line:
                    if name == "end":
                        return received
                    name = None
        return received

    ended = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        yield lambda job_id: pool.submit(follow, job_id)
        ended.set()


def assert_received(subscriber: Future, log: list[dict]) -> None:
    """The subscriber has received the log up to a terminal event."""
    received = subscriber.result(90)
    assert received == log[: len(received)]
    assert received[-1]["job_status"] in TERMINAL_STATUSES


# The worker detects the death of its child, unless the reaper is faster.


def start(workers: Workers, watch, task_type: str, kill_points: list[list[str]]):
    """Start all jobs whose workers are killed concurrently: the detection takes time."""
    jobs = [workers.job(task_type, *points) for points in kill_points]
    return [(job_id, watch(job_id)) for job_id in jobs]


def test_child_is_killed(workers: Workers, watch):
    """Its message was acknowledged early: it is not redelivered."""
    started = start(workers, watch, "steps", [[f"child at {point}"] for point in POINTS])
    for point, (job_id, subscriber) in zip(POINTS, started, strict=True):
        row = workers.finished(job_id)
        log = workers.log(job_id)
        assert_received(subscriber, log)
        if point in AFTER_COMPLETION:
            assert ends(log) == [(1, "task_completed")]
        else:
            assert row["status"] == "failed"
            assert log[-1]["reason"] == "worker_lost"
            assert ends(log) == [(1, "task_failed")]


def test_child_is_killed_and_broker_redelivers(workers: Workers, watch):
    started = start(workers, watch, "late", [[f"child at {point}"] for point in POINTS])
    for point, (job_id, subscriber) in zip(POINTS, started, strict=True):
        workers.finished(job_id, until="completed")
        log = workers.log(job_id)
        assert_received(subscriber, log)
        if point in {"before claim", *AFTER_COMPLETION}:
            assert ends(log) == [(1, "task_completed")]
        else:
            assert ends(log) == [(1, "task_failed"), (2, "task_completed")]
            assert kinds(log).count("job_retried") == 1


def test_child_is_killed_twice(workers: Workers, watch):
    kill_points = [[f"child at {point}"] * 2 for point in ("after claim", "before complete")]
    for job_id, subscriber in start(workers, watch, "late", kill_points):
        workers.finished(job_id, until="completed")
        log = workers.log(job_id)
        assert ends(log) == [(1, "task_failed"), (2, "task_failed"), (3, "task_completed")]
        assert_received(subscriber, log)


def test_delivery_limit(workers: Workers):
    job_id = workers.job("late", *["child at work"] * 20)
    row = workers.finished(job_id, attempt=5, seconds=60)
    workers.until_log("was delivered 5 times", job_id)
    assert row["status"] == "failed"
    assert ends(workers.log(job_id)) == [(attempt, "task_failed") for attempt in range(1, 6)]


@pytest.mark.parametrize("point", ["after claim", "before complete"])
def test_worker_is_killed(workers: Workers, watch, point):
    """Only the reaper detects the death of a whole worker."""
    job_id = workers.job("steps", f"worker at {point}")
    subscriber = watch(job_id)
    row = workers.finished(job_id)
    workers.kill_worker()
    assert row["status"] == "failed"
    assert "no heartbeat" in row["error"]
    log = workers.log(job_id)
    assert log[-1]["reason"] == "worker_lost"
    assert ends(log) == [(1, "task_failed")]
    assert_received(subscriber, log)


def test_worker_is_killed_and_broker_redelivers(workers: Workers, watch):
    """The worker is killed twice; the broker redelivers after its visibility timeout."""
    job_id = workers.job("late", "worker at work", "worker at before complete")
    for _ in range(2):
        workers.worker.wait(40)
        workers.kill_worker()
        time.sleep(4)  # longer than the broker's visibility_timeout
        workers.start_worker()
    workers.finished(job_id, until="completed")
    log = workers.log(job_id)
    assert ends(log) == [(1, "task_failed"), (2, "task_failed"), (3, "task_completed")]
    assert_received(watch(job_id), log)


def test_late_worker_is_fenced(workers: Workers):
    """It is paused until another worker has claimed its task, and finishes afterwards."""
    job_id = workers.job("gate", cancellable=False)
    pid = workers.until(job_id, "at_gate")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        assert workers.finished(job_id)["status"] == "failed"
        assert workers.post(job_id, "retry").status_code == 200
        workers.until(job_id, "at_gate", 2)
    finally:
        os.kill(pid, signal.SIGCONT)
    workers.until(job_id, "at_gate", 2)
    workers.open(job_id)
    row = workers.finished(job_id, attempt=2)
    assert (row["status"], row["attempt"]) == ("completed", 2)
    log = workers.log(job_id)
    assert ends(log) == [(1, "task_failed"), (2, "task_completed")]
    # The paused worker passed the gate, too, and its event was fenced.
    assert kinds(log).count("through_gate") == 1


def test_redelivery_waits_for_live_worker(workers: Workers):
    """The broker redelivers the task of a slow worker."""
    job_id = workers.job("late_gate")
    workers.until(job_id, "at_gate")
    time.sleep(4)  # longer than the broker's visibility_timeout
    first = workers.worker
    workers.start_worker(name="second")
    try:
        workers.until_log("sends heartbeats", job_id)
        workers.open(job_id)
        assert workers.finished(job_id)["attempt"] == 1
    finally:
        workers.kill_worker(first)
    log = workers.log(job_id)
    assert ends(log) == [(1, "task_completed")]
    assert kinds(log).count("task_started") == 1


def test_outage_of_broker_and_streams(workers: Workers, tmp_path):
    """Longer than WORKER_TIMEOUT: heartbeats use the database."""
    job_id = workers.job("waits_for_file", path=str(tmp_path / "continue"))
    workers.until(job_id, "waits_for_file")
    workers.redis.kill()
    try:
        time.sleep(6)  # twice the WORKER_TIMEOUT
        assert workers.row(job_id)["status"] == "running"
        (tmp_path / "continue").touch()
        workers.until_row(job_id, "completed")
    finally:
        workers.redis.start()
    workers.until(job_id, "task_completed")
    assert ends(workers.log(job_id)) == [(1, "task_completed")]
    workers.kill_worker()  # the next test starts a worker without a lost broker connection
