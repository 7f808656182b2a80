"""Jobs are cancelled, by who may, and by Celery's own means: their tasks stop."""

import pytest

from tests.support.workers import ends, kinds


def revoke(workers, key, **options):
    """As an operator does, by `celery control` or Flower."""
    workers.celery(f"app.control.revoke({key!r}, **{options!r})")


def test_a_task_that_looks_stops(workers):
    job_id = workers.job("gate")
    workers.until(job_id, "at_gate")
    answer = workers.post(job_id, "cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    workers.until_log("task_stopped", job_id)
    workers.open(job_id)
    log = workers.log(job_id)
    assert log[-1]["by"] == "anna"
    assert ends(log) == [(1, "job_cancelled")]
    assert "through_gate" not in kinds(log)
    # Its worker is free for the next.
    assert workers.finished(workers.job("steps"))["status"] == "completed"


def test_a_task_that_does_not_look_ends_in_vain(workers):
    job_id = workers.job("gate", heeds=False)
    workers.until(job_id, "at_gate")
    workers.post(job_id, "cancel")
    workers.open(job_id)
    workers.until(job_id, "through_gate")
    workers.until_log("task_stopped", job_id)
    assert workers.row(job_id)["status"] == "cancelled"
    assert ends(workers.log(job_id)) == [(1, "job_cancelled")]


def test_a_task_that_does_not_look_is_terminated(workers):
    job_id = workers.job("gate", heeds=False)
    workers.until(job_id, "at_gate")
    assert workers.post(job_id, "cancel", terminate=True).status_code == 200
    workers.until_log("Terminating", workers.key_of(job_id))
    workers.open(job_id)
    log = workers.log(job_id)
    assert (log[-1]["by"], log[-1]["terminate"]) == ("anna", True)
    assert ends(log) == [(1, "job_cancelled")]
    assert workers.finished(workers.job("steps"))["status"] == "completed"


def test_a_coroutine_is_cancelled(workers):
    job_id = workers.job("coroutine", wait=60)
    workers.until(job_id, "awaited", 3)
    workers.post(job_id, "cancel")
    workers.until(job_id, "unwound")
    assert workers.row(job_id)["status"] == "cancelled"
    assert ends(workers.log(job_id)) == [(1, "job_cancelled")]


def test_a_job_that_waits_for_a_worker_is_cancelled(workers):
    """Its message is thrown away when a worker comes to it."""
    held = [workers.job("gate") for _ in range(2)]
    for each in held:
        workers.until(each, "at_gate")
    job_id = workers.job("steps")
    workers.post(job_id, "cancel")
    for each in held:
        workers.open(each)
    workers.until_log("delivery_rejected", job_id)
    assert kinds(workers.log(job_id)) == ["job_created", "job_cancelled"]


@pytest.mark.parametrize("terminate", [True, False])
def test_celery_is_told_to_revoke_a_task(workers, terminate):
    """One that runs is terminated; one that waits is never begun."""
    held = [workers.job("gate", heeds=False) for _ in range(2)]
    for each in held:
        workers.until(each, "at_gate")
    job_id = held[0] if terminate else workers.job("steps")
    revoke(workers, workers.key_of(job_id), terminate=terminate)
    if not terminate:
        workers.until_log("revoked", workers.key_of(job_id))
    workers.open(held[1])
    if not terminate:
        workers.open(held[0])
    assert workers.finished(job_id)["status"] == "cancelled"
    log = workers.log(job_id)
    assert log[-1]["reason"] == ("terminated" if terminate else "revoked")
    assert ends(log) == [(1, "task_revoked")]


def test_a_job_asks_a_person(workers):
    """It has no worker while it waits, and goes on with all that is to follow."""
    job_id = workers.job("asks_in_chain")
    asked = workers.until(job_id, "input_requested")
    assert (asked["name"], asked["prompt"], asked["job_status"]) == (
        "input-1", "What is your name?", "running",
    )  # fmt: skip
    assert workers.post(job_id, "inputs", name="input-1", value="Anna").status_code == 200
    asked = workers.until(job_id, "input_requested", 2)
    assert (asked["name"], asked["choices"]) == ("sure", ["yes", "no"])
    assert workers.post(job_id, "inputs", name="sure", value="perhaps").status_code == 400
    assert workers.post(job_id, "inputs", name="sure", value="yes").json()["answered_by"] == "anna"
    assert workers.finished(job_id)["result"] == "Anna: yes!"
    log = workers.log(job_id)
    assert kinds(log) == [
        "job_created",
        "task_started", "begun", "input_requested", "input_received",
        "task_started", "begun", "input_requested", "input_received",
        "task_started", "begun", "task_completed",
        "task_started", "linked", "task_completed",
    ]  # fmt: skip
    assert [event["by"] for event in log if event["event_type"] == "input_received"] == [
        "anna",
        "anna",
    ]
