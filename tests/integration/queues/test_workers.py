"""Jobs executed by real workers of `django.tasks` and RQ."""

import os
import signal

from tests.support.workers import ends, kinds


def kinds_once_queued(log: list[dict]) -> list[str]:
    """Return the event types without `task_enqueued`, which may be late or missing."""
    found = kinds(log)
    if "task_enqueued" in found:
        assert found[:2] == ["job_created", "task_enqueued"]
        found.remove("task_enqueued")
    return found


def test_completed_task(queue_site, queue):
    job_id = queue_site.job(f"{queue}-steps", count=2)
    row = queue_site.finished(job_id)
    assert (row["status"], row["progress"]) == ("completed", 100.0)
    assert row["result"] == {"steps": 2, "attempt": 1}
    log = queue_site.log(job_id)
    assert kinds_once_queued(log) == [
        "job_created", "task_started", *["task_progress"] * 2, "worked", "task_completed",
    ]  # fmt: skip
    started = log[-5]
    assert (started["task_type"], bool(started["worker"])) == ("steps", True)
    assert 0 <= started["data"]["queue_seconds"] < 30


def test_failed_task(queue_site, queue):
    job_id = queue_site.job(f"{queue}-fails")
    row = queue_site.finished(job_id)
    assert (row["status"], row["error"]) == ("failed", "out of paper")
    log = queue_site.log(job_id)
    assert kinds_once_queued(log) == ["job_created", "task_started", "task_failed"]
    assert log[-1]["error_type"] == "ValueError"


def test_cancelled_jobs(queue_site, queue):
    """A running one stops at its next check; of two queued ones, one is retried once."""
    running = queue_site.job(f"{queue}-gate")
    queue_site.until(running, "at_gate")
    queued, retried = (queue_site.job(f"{queue}-steps") for _ in range(2))
    for job_id in (queued, retried):
        assert queue_site.post(job_id, "cancel").status_code == 200
    assert queue_site.post(retried, "retry").status_code == 200
    assert queue_site.post(running, "cancel").status_code == 200
    # The worker is free for the next job.
    assert queue_site.finished(queue_site.job(f"{queue}-steps"))["status"] == "completed"
    log = queue_site.log(running)
    assert "through_gate" not in kinds(log)
    assert ends(log) == [(1, "job_cancelled")]
    enqueued = ["task_enqueued"] if queue == "django_tasks" else []
    assert kinds(queue_site.log(queued)) == ["job_created", *enqueued, "job_cancelled"]
    log = queue_site.log(retried)
    assert (kinds(log).count("task_started"), log[-1]["attempt"]) == (1, 2)
    assert ends(log) == [(1, "job_cancelled"), (2, "task_completed")]


def test_retry_after_killed_worker(queue_site, queue):
    job_id = queue_site.job(f"{queue}-gate")
    os.kill(queue_site.until(job_id, "at_gate")["pid"], signal.SIGKILL)
    row = queue_site.finished(job_id)
    assert (row["status"], "no heartbeat" in row["error"]) == ("failed", True)
    assert queue_site.log(job_id)[-1]["reason"] == "worker_lost"
    if queue == "django_tasks":
        queue_site.workers[queue].wait(10)
        queue_site.need_worker(queue)
    queue_site.open(job_id)
    assert queue_site.post(job_id, "retry").status_code == 200
    row = queue_site.finished(job_id, attempt=2)
    assert (row["status"], row["result"]) == ("completed", "through")
    assert ends(queue_site.log(job_id)) == [(1, "task_failed"), (2, "task_completed")]


def test_django_coroutine_is_cancelled(db_worker):
    job_id = db_worker.job("django_tasks-sleeps")
    db_worker.until(job_id, "asleep")
    db_worker.post(job_id, "cancel")
    assert db_worker.finished(db_worker.job("django_tasks-steps"))["status"] == "completed"
    assert ends(db_worker.log(job_id)) == [(1, "job_cancelled")]


def test_rq_terminates_task(rq):
    job_id = rq.job("rq-gate", cancellable=False)
    rq.until(job_id, "at_gate")
    assert rq.post(job_id, "cancel", terminate=True).status_code == 200
    rq.until_log("stopped by user")
    rq.open(job_id)
    assert rq.finished(rq.job("rq-steps"))["status"] == "completed"
    assert "through_gate" not in kinds(rq.log(job_id))


def test_rq_retry(rq):
    job_id = rq.job("rq-with_retry")
    assert rq.finished(job_id)["result"] == "second try"
    log = rq.log(job_id)
    assert kinds(log) == [
        "job_created", "task_started", "task_retry", "task_started", "task_completed",
    ]  # fmt: skip
    assert (log[2]["error"], log[2]["retry_in"]) == ("not yet", 0)


def test_rq_timeout(rq):
    job_id = rq.job("rq-with_timeout")
    assert rq.finished(job_id)["status"] == "failed"
    assert rq.log(job_id)[-1]["reason"] == "timed_out"
