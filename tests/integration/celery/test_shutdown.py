"""Shutdown of a worker: warm, soft and cold; and exits of tasks in pools without processes."""

import signal
import time

import pytest

from tests.support.workers import Workers, ends, kinds

pytestmark = pytest.mark.extended


def restart(workers: Workers, pool: str = "prefork") -> None:
    workers.worker.wait(30)
    workers.kill_worker()
    workers.start_worker(pool)


def test_cold_shutdown_after_soft_shutdown(workers: Workers):
    """A task may end within two seconds. Others are lost, or started again if not acknowledged."""
    early, late = workers.job("gate"), workers.job("late_waits")
    for job_id in (early, late):
        workers.until(job_id, "at_gate")
    queued = workers.job("steps")
    workers.worker.send_signal(signal.SIGQUIT)
    restart(workers)
    assert workers.finished(early)["status"] == "failed"
    assert workers.log(early)[-1]["reason"] == "worker_lost"
    assert workers.finished(queued)["status"] == "completed"
    workers.open(late)
    workers.finished(late, until="completed")
    assert ends(workers.log(late)) == [(1, "task_failed"), (2, "task_completed")]


def test_task_ends_during_soft_shutdown(workers: Workers):
    job_id = workers.job("late_waits")
    workers.until(job_id, "at_gate")
    workers.worker.send_signal(signal.SIGQUIT)
    workers.until_log("Initiating Soft Shutdown")
    workers.open(job_id)
    assert workers.finished(job_id)["status"] == "completed"
    restart(workers)
    assert ends(workers.log(job_id)) == [(1, "task_completed")]


def test_prefetched_tasks_survive_warm_shutdown(workers: Workers):
    running = [workers.job("gate") for _ in range(2)]
    for job_id in running:
        workers.until(job_id, "at_gate")
    queued = [workers.job("steps") for _ in range(6)]
    workers.until_log(" received ", queued[-1])
    workers.worker.send_signal(signal.SIGTERM)
    workers.until_log("Warm shutdown")
    workers.open(*running)
    restart(workers)
    for job_id in (*running, *queued):
        assert workers.finished(job_id)["status"] == "completed"
        assert ends(workers.log(job_id)) == [(1, "task_completed")]


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_exit_in_a_pool_without_processes(worker_site: Workers, pool):
    """No main process reports it. A message that was not acknowledged is delivered again."""
    worker_site.kill_worker()
    worker_site.start_worker(pool)
    job_id = worker_site.job("late_raises_once", error="exit")
    row = worker_site.finished(job_id)
    assert (row["status"], row["error"]) == ("failed", "The task raised SystemExit(3).")
    assert worker_site.log(job_id)[-1]["reason"] == "terminated"
    worker_site.kill_worker()
    time.sleep(4)  # longer than the broker's visibility_timeout
    worker_site.start_worker(pool)
    assert worker_site.finished(job_id, until="completed")["attempt"] == 2
    assert kinds(worker_site.log(job_id)).count("job_retried") == 1
    worker_site.kill_worker()
