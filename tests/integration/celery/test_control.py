"""Cancellation and termination of tasks, by users and by Celery's remote control."""

import pytest

from tests.support.workers import ends, kinds

pytestmark = pytest.mark.extended


def revoke(workers, external_id, **options):
    """Revoke a task as `celery control` or Flower do."""
    workers.celery(f"app.control.revoke({external_id!r}, **{options!r})")


def test_task_stops_at_check(workers):
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
    # The worker is free for the next job.
    assert workers.finished(workers.job("steps"))["status"] == "completed"


def test_result_of_unchecked_task_is_discarded(workers):
    job_id = workers.job("gate", cancellable=False)
    workers.until(job_id, "at_gate")
    workers.post(job_id, "cancel")
    workers.open(job_id)
    workers.until(job_id, "through_gate")
    workers.until_log("task_stopped", job_id)
    assert workers.row(job_id)["status"] == "cancelled"
    assert ends(workers.log(job_id)) == [(1, "job_cancelled")]


def test_unchecked_task_is_terminated(workers):
    job_id = workers.job("gate", cancellable=False)
    workers.until(job_id, "at_gate")
    assert workers.post(job_id, "cancel", terminate=True).status_code == 200
    workers.until_log("Terminating", workers.external_id_of(job_id))
    workers.open(job_id)
    log = workers.log(job_id)
    assert (log[-1]["by"], log[-1]["terminate"]) == ("anna", True)
    assert ends(log) == [(1, "job_cancelled")]
    assert workers.finished(workers.job("steps"))["status"] == "completed"


def test_coroutine_is_cancelled(workers):
    job_id = workers.job("coroutine", wait=60)
    workers.until(job_id, "awaited", 3)
    workers.post(job_id, "cancel")
    workers.until(job_id, "unwound")
    assert workers.row(job_id)["status"] == "cancelled"
    assert ends(workers.log(job_id)) == [(1, "job_cancelled")]


def test_queued_job_is_cancelled(workers):
    """A worker discards its message."""
    held = [workers.job("gate") for _ in range(2)]
    for each in held:
        workers.until(each, "at_gate")
    job_id = workers.job("steps")
    workers.post(job_id, "cancel")
    for each in held:
        workers.open(each)
    workers.until_log("delivery_rejected", job_id)
    assert kinds(workers.log(job_id)) == ["job_created", "job_cancelled"]


def check_erased(workers, job_id):
    assert workers.row(job_id)["status"] == 404
    with workers.redis_client() as client:
        state = f"{{job_events:{job_id}}}:producers"
        assert client.hgetall(state) == {b"expiring": b"deleted"}
        assert not client.exists(f"job_events:{job_id}")


@pytest.mark.parametrize("cancellable", [True, False])
def test_task_of_a_deleted_job_is_stopped(workers, cancellable):
    """Neither its events nor its result bring the log back."""
    job_id = workers.job("gate", cancellable=cancellable)
    workers.until(job_id, "at_gate")
    assert workers.delete(job_id).status_code == 204
    workers.open(job_id)
    workers.until_log("task_stopped", job_id)
    check_erased(workers, job_id)
    assert workers.finished(workers.job("steps"))["status"] == "completed"


def test_message_of_a_deleted_job_is_rejected(workers):
    held = [workers.job("gate") for _ in range(2)]
    for each in held:
        workers.until(each, "at_gate")
    job_id = workers.job("steps")
    workers.delete(job_id)
    for each in held:
        workers.open(each)
    workers.until_log("delivery_rejected", job_id)
    check_erased(workers, job_id)


@pytest.mark.parametrize("terminate", [True, False])
def test_celery_revokes_task(workers, terminate):
    """A running task is terminated; a queued one is not started."""
    held = [workers.job("gate", cancellable=False) for _ in range(2)]
    for each in held:
        workers.until(each, "at_gate")
    job_id = held[0] if terminate else workers.job("steps")
    revoke(workers, workers.external_id_of(job_id), terminate=terminate)
    if not terminate:
        workers.until_log("revoked", workers.external_id_of(job_id))
    workers.open(held[1])
    if not terminate:
        workers.open(held[0])
    assert workers.finished(job_id)["status"] == "cancelled"
    log = workers.log(job_id)
    assert log[-1]["reason"] == ("terminated" if terminate else "revoked")
    assert ends(log) == [(1, "task_revoked")]


def test_request_for_input_in_chain(workers):
    """The job has no worker while it waits; its chain continues after the answers."""
    job_id = workers.job("requests_input_in_chain")
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
        "task_started", "begun", "task_suspended", "input_requested", "input_received",
        "task_started", "begun", "task_suspended", "input_requested", "input_received",
        "task_started", "begun", "task_completed",
        "task_started", "linked", "task_completed",
    ]  # fmt: skip
    assert [event["by"] for event in log if event["event_type"] == "input_received"] == [
        "anna",
        "anna",
    ]
