"""Workers are killed at every point of a task's life, while viewers watch.

Whatever happens, each attempt at a job ends once, and everybody sees it.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.support.workers import OVER, Workers, ends, kinds

POINTS = ["before claim", "after claim", "work", "before complete", "after complete"]
# By when the job is completed, and the death of its worker is nothing to it.
DONE = {"after complete"}


@pytest.fixture
def watch(workers) -> Iterator:
    """View a job in another thread: the events that a viewer was given, up to the end."""

    def view(job_id: str) -> list[dict]:
        url = f"/api/jobs/{job_id}/events/stream/"
        given: list[dict] = []
        with (
            workers.client("anna") as client,
            client.stream("GET", url, timeout=90) as answer,
        ):
            name = None
            for line in answer.iter_lines():
                if ended.is_set():
                    break
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data" and name is None:
                    given.append(json.loads(value)["data"])
                elif not line:
                    if name == "end":
                        return given
                    name = None
        return given

    ended = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        yield lambda job_id: pool.submit(view, job_id)
        ended.set()


def expect_seen(viewer: Future, log: list[dict]) -> None:
    """A viewer is given the log, up to an event that seemed to be the last."""
    given = viewer.result(90)
    assert given == log[: len(given)]
    assert given[-1]["job_status"] in OVER


# The worker notices by itself that its child is dead, or the reaper is faster.


def begin(workers: Workers, watch, task_type: str, deaths: list[list[str]]):
    """Jobs whose workers die, with viewers; all at once, as it takes a while to be noticed."""
    jobs = [workers.job(task_type, *points) for points in deaths]
    return [(job_id, watch(job_id)) for job_id in jobs]


def test_a_child_is_killed(workers: Workers, watch):
    """Its message was acknowledged early: it is not redelivered."""
    begun = begin(workers, watch, "steps", [[f"child at {point}"] for point in POINTS])
    for point, (job_id, viewer) in zip(POINTS, begun, strict=True):
        row = workers.finished(job_id)
        log = workers.log(job_id)
        expect_seen(viewer, log)
        if point in DONE:
            assert ends(log) == [(1, "task_completed")]
        else:
            assert row["status"] == "failed"
            assert log[-1]["reason"] == "worker_lost"
            assert ends(log) == [(1, "task_failed")]


def test_a_child_is_killed_and_the_broker_brings_the_task_again(workers: Workers, watch):
    begun = begin(workers, watch, "late", [[f"child at {point}"] for point in POINTS])
    for point, (job_id, viewer) in zip(POINTS, begun, strict=True):
        workers.finished(job_id, until="completed")
        log = workers.log(job_id)
        expect_seen(viewer, log)
        if point in {"before claim", *DONE}:
            assert ends(log) == [(1, "task_completed")]
        else:
            assert ends(log) == [(1, "task_failed"), (2, "task_completed")]
            assert kinds(log).count("job_retried") == 1


def test_a_child_is_killed_twice(workers: Workers, watch):
    deaths = [[f"child at {point}"] * 2 for point in ("after claim", "before complete")]
    for job_id, viewer in begin(workers, watch, "late", deaths):
        workers.finished(job_id, until="completed")
        log = workers.log(job_id)
        assert ends(log) == [(1, "task_failed"), (2, "task_failed"), (3, "task_completed")]
        expect_seen(viewer, log)


def test_a_task_that_kills_its_worker_each_time_is_given_up(workers: Workers):
    job_id = workers.job("late", *["child at work"] * 20)
    row = workers.finished(job_id, attempt=5, seconds=60)
    workers.until_log("was delivered 5 times", job_id)
    assert row["status"] == "failed"
    assert ends(workers.log(job_id)) == [(attempt, "task_failed") for attempt in range(1, 6)]


@pytest.mark.parametrize("point", ["after claim", "before complete"])
def test_a_whole_worker_is_killed(workers: Workers, watch, point):
    """Only the reaper can detect it."""
    job_id = workers.job("steps", f"worker at {point}")
    viewer = watch(job_id)
    row = workers.finished(job_id)
    workers.kill_worker()
    assert row["status"] == "failed"
    assert "no heartbeat" in row["error"]
    log = workers.log(job_id)
    assert log[-1]["reason"] == "worker_lost"
    assert ends(log) == [(1, "task_failed")]
    expect_seen(viewer, log)


def test_a_whole_worker_is_killed_and_another_is_brought_the_task(workers: Workers, watch):
    """Twice; the broker waits for a while before it gives up the one that had it."""
    job_id = workers.job("late", "worker at work", "worker at before complete")
    for _ in range(2):
        workers.worker.wait(40)
        workers.kill_worker()
        time.sleep(4)  # longer than the broker's visibility_timeout
        workers.start_worker()
    workers.finished(job_id, until="completed")
    log = workers.log(job_id)
    assert ends(log) == [(1, "task_failed"), (2, "task_failed"), (3, "task_completed")]
    expect_seen(watch(job_id), log)


def test_a_worker_that_wakes_up_too_late_is_refused(workers: Workers):
    """It is paused until its job was given to another worker, and then ends its task."""
    job_id = workers.job("gate", heeds=False)
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
    # The one that slept went through the gate, too, and could not say so.
    assert kinds(log).count("through_gate") == 1


def test_a_task_that_another_worker_has_is_put_off(workers: Workers):
    """The broker takes a worker for lost that is only slow, and brings its task to another."""
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


def test_the_broker_and_the_streams_are_away_for_a_while(workers: Workers, tmp_path):
    """Longer than a worker may be silent: but it is heard of by the database."""
    job_id = workers.job("holds", path=str(tmp_path / "go on"))
    workers.until(job_id, "holds")
    workers.redis.kill()
    try:
        time.sleep(6)  # twice the WORKER_TIMEOUT
        assert workers.row(job_id)["status"] == "running"
        (tmp_path / "go on").touch()
        workers.until_row(job_id, "completed")
    finally:
        workers.redis.start()
    workers.until(job_id, "task_completed")
    assert ends(workers.log(job_id)) == [(1, "task_completed")]
    workers.kill_worker()  # the next test has one that never lost its broker
