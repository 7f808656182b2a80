"""Workers with the pools `threads` and `solo`."""

import signal

import pytest

from tests.support.workers import Workers, ends, kinds


@pytest.fixture(params=["threads", "solo"])
def pool(request: pytest.FixtureRequest, worker_site: Workers):
    """The site with a worker of this pool; the next test starts its own."""
    worker_site.kill_worker()
    worker_site.start_worker(request.param)
    yield worker_site
    worker_site.kill_worker()


@pytest.mark.extended
def test_pool(pool: Workers):
    jobs = {
        name: pool.job(name)
        for name in ("steps", "fails", "tries_again", "coroutine", "decorated", "chorded")
    }
    rows = {name: pool.finished(job_id) for name, job_id in jobs.items()}
    results = {name: row["result"] for name, row in rows.items() if row["status"] == "completed"}
    assert results == {
        "steps": {"steps": 3},
        "tries_again": "after 2",
        "coroutine": "awaited",
        "decorated": "decorated",
        "chorded": "0+1+2+3",
    }
    assert rows["fails"]["error"] == "out of paper"
    assert [len(ends(pool.log(job_id))) for job_id in jobs.values()] == [1] * len(jobs)

    cancelled = pool.job("gate")
    pool.until(cancelled, "at_gate")
    pool.post(cancelled, "cancel")
    pool.until_log("task_stopped", cancelled)

    dead = pool.job("steps", "worker at work")
    assert pool.finished(dead)["status"] == "failed"
    assert pool.log(dead)[-1]["reason"] == "worker_lost"


def test_terminated_worker_finishes_its_task(workers: Workers):
    """SIGTERM is sent at every deployment."""
    job_id = workers.job("gate")
    workers.until(job_id, "at_gate")
    workers.worker.send_signal(signal.SIGTERM)
    workers.until_log("Warm shutdown")
    workers.open(job_id)
    assert workers.finished(job_id)["status"] == "completed"
    workers.worker.wait(20)
    workers.kill_worker()
    assert "task_failed" not in kinds(workers.log(job_id))
