"""A real worker finishes messages without a result: the job ends with a reason, or continues."""

import time

import pytest

from tests.support.workers import ends, kinds


def outcome(workers, job_id):
    """Return status, reason and result or error of a finished job; each of its tasks has an end."""
    row = workers.finished(job_id)
    log = workers.log(job_id)
    last = log[-1]
    assert len(ends(log)) == 1
    started = [each["data"]["run_id"] for each in log if each["event_type"] == "task_started"]
    spans = [each["data"] for each in log if "status" in (each.get("data") or {})]
    assert sorted(span["run_id"] for span in spans) == sorted(started)
    return row["status"], last.get("reason"), row["error"] or row["result"]


@pytest.mark.parametrize("task", ["raises", "decorated_raises", "prepared"])
def test_task_without_a_result(workers, task):
    """The hook of `prepared` raises before its function is called."""
    errors = ["ignore", "reject", "requeue"]
    errors += ["cancelled", "retry"] if task != "prepared" else []
    jobs = {error: workers.job(task, error=error) for error in errors}
    found = {error: outcome(workers, job_id) for error, job_id in jobs.items()}
    if task != "prepared":
        assert found.pop("cancelled") == ("failed", None, "by itself")
        assert found.pop("retry") == ("failed", None, "raised by the task")
    assert found == {
        "ignore": ("cancelled", "ignored", None),
        "reject": ("failed", "rejected", "busy"),
        "requeue": ("failed", "rejected", "busy"),
    }


def test_late_task_without_a_result(workers):
    """The broker delivers a message again that was rejected before its acknowledgement."""
    jobs = {error: workers.job("late_raises_once", error=error) for error in ("requeue", "reject")}
    found = {error: outcome(workers, job_id) for error, job_id in jobs.items()}
    assert found == {
        "requeue": ("completed", None, "again"),
        "reject": ("failed", "rejected", "busy"),
    }
    log = workers.log(jobs["requeue"])
    assert kinds(log)[1:] == ["task_started", "task_retry", "task_started", "task_completed"]
    assert log[2]["reason"] == "requeued"


@pytest.mark.parametrize("task", ["replaces", "decorated_replaces"])
def test_replaced_task(workers, task):
    expected = {
        "task": ("completed", None, "1"),
        "decorated": ("completed", None, "1"),
        "chain": ("completed", None, "12"),
        "chain to plain": ("completed", None, "1"),
        "chain from plain": ("completed", None, "plain2"),
        "chain around": ("completed", None, "plain2"),
        "group": ("completed", None, None),
        "chord": ("completed", None, "['1', '1']2"),
        "chord to plain": ("completed", None, None),
        "chord from plain": ("completed", None, "['plain', 'plain']2"),
    }
    jobs = {by: workers.job(task, by=by) for by in expected}
    plain = workers.job(task, by="plain")
    assert {by: outcome(workers, job_id) for by, job_id in jobs.items()} == expected
    status, reason, error = outcome(workers, plain)
    assert (status, reason) == ("failed", "replaced")
    assert "outcome_tasks.plain, which does not follow the job" in error


def test_replaced_task_in_a_chain(workers):
    jobs = {by: workers.job("replaced_in_chain", by=by) for by in ("task", "plain", "group")}
    assert {by: outcome(workers, job_id) for by, job_id in jobs.items()} == {
        "task": ("completed", None, "1last"),
        "plain": ("completed", None, "plainlast"),
        "group": ("completed", None, "['1', '3']last"),
    }


def test_task_that_has_sent_another(workers):
    jobs = {how: workers.job("sends_and_ignores", how=how) for how in ("other", "own id", "plain")}
    assert {how: outcome(workers, job_id) for how, job_id in jobs.items()} == {
        "other": ("completed", None, "sent"),
        "own id": ("completed", None, "sent"),
        "plain": ("cancelled", "ignored", None),
    }


@pytest.mark.parametrize(
    ("task", "result"),
    [
        ("retries_and_returns", "retried 1"),
        ("retries_rejected", "accepted"),
        ("sends_ahead", "plain later"),
    ],
)
def test_task_that_returns_before_another_message_of_its_job(workers, task, result):
    assert outcome(workers, workers.job(task)) == ("completed", None, result)


@pytest.mark.parametrize("canvas", ["chain", "chord"])
def test_result_that_the_next_task_cannot_receive(workers, canvas):
    """Celery cannot send the message of the next task."""
    status, _, error = outcome(workers, workers.job(f"unserializable_in_{canvas}"))
    assert status == "failed"
    assert "not JSON serializable" in error


def test_canvas_whose_tasks_do_not_all_follow(workers):
    expected = {
        "chain to plain": ("completed", None, "1"),
        "chord to plain": ("completed", None, None),
        "link": ("completed", None, "1linked"),
        "link to plain": ("completed", None, "1"),
        "ignored in chain": ("cancelled", "ignored", None),
        "ignored in group": ("completed", None, None),
        "ignored in chord": ("cancelled", "ignored", None),
        "group of chains": ("completed", None, None),
        "chord of chains": ("completed", None, "['12', '12']body"),
        "chord of chords": ("completed", None, "[\"['1', '1']inner\", '1']body"),
        "ignored in chord of chains": ("cancelled", "ignored", None),
    }
    jobs = {how: workers.job("canvas", how=how) for how in expected}
    assert {how: outcome(workers, job_id) for how, job_id in jobs.items()} == expected


def test_answer_after_the_expiry(workers):
    job_id = workers.job("asks_before_expiry")
    workers.until(job_id, "input_requested")
    time.sleep(3)
    workers.post(job_id, "inputs", name="input-1", value="Anna")
    assert outcome(workers, job_id) == ("completed", None, "Anna")


@pytest.mark.extended
def test_duplicate_of_a_long_task_expires(workers):
    """The broker delivers the message again after its visibility timeout of three seconds."""
    job_id = workers.job("long_with_expiry")
    workers.until(job_id, "at_gate")
    time.sleep(4)
    first = workers.worker
    workers.start_worker(name="second")
    try:
        workers.until_log("Discarding revoked task", workers.external_id_of(job_id))
        workers.open(job_id)
        assert outcome(workers, job_id) == ("completed", None, "through")
    finally:
        workers.kill_worker(first)


def test_unknown_task(workers):
    job_id = workers.job("added")
    status, reason, error = outcome(workers, job_id)
    assert (status, reason) == ("failed", "rejected")
    assert "does not know the task tests.support.outcome_tasks.added" in error


def test_exits(workers):
    jobs = {error: workers.job("raises", error=error) for error in ("exit", "shutdown")}
    for job_id in jobs.values():
        assert outcome(workers, job_id)[:2] == ("failed", "worker_lost")
    job_id = workers.job("decorated_raises", error="exit")
    assert outcome(workers, job_id)[:2] == ("failed", "worker_lost")
    job_id = workers.job("late_raises_once", error="exit")
    assert workers.finished(job_id)["status"] == "failed"
    assert outcome(workers, workers.job("replaces", by="task"))[0] == "completed"
