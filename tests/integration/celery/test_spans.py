"""Spans of tasks that a real worker executes."""

from datetime import datetime
from time import monotonic

import pytest

from tests.support.spans import ended_spans
from tests.support.workers import kinds

DONE = ("task_completed", "done")
FAILED = ("task_failed", "failed")
RETRY = ("task_retry", "retry")
SECONDS = 3


def statuses(log):
    return [end[1:] for end in ended_spans(log)]


def starts(log):
    return [event["data"] for event in log if event["event_type"] == "task_started"]


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("steps", [DONE]),
        ("fails", [FAILED]),
        ("soft", [FAILED]),
        ("hard", [FAILED]),
        ("tries_again", [RETRY, RETRY, DONE]),
        ("decorated_tries", [RETRY, DONE]),
        ("chained", [DONE, DONE, DONE]),
        ("chain_fails", [DONE, FAILED]),
        ("chorded", [DONE] * 5),
    ],
)
def test_each_delivery_is_a_span(workers, name, ends):
    job_id = workers.job(name)
    workers.finished(job_id)
    log = workers.log(job_id)
    assert statuses(log) == ends
    for data in starts(log):
        assert 0 <= data["queue_seconds"] < 30
        assert data["parent_run_id"] is None


def test_duration(workers):
    began = monotonic()
    job_id = workers.job("coroutine", wait=SECONDS)
    workers.finished(job_id)
    assert SECONDS <= workers.log(job_id)[-1]["data"]["seconds"] <= monotonic() - began


def test_delay_of_a_retry_is_no_waiting_time(workers):
    job_id = workers.job("tries_again", times=1, countdown=SECONDS)
    workers.finished(job_id)
    log = workers.log(job_id)
    first, second = starts(log)
    began, ended = (
        datetime.fromisoformat(event["timestamp"])
        for event in log
        if event["event_type"] == "task_started"
    )
    assert second["queue_seconds"] <= (ended - began).total_seconds() - SECONDS
    assert first["run_id"].rpartition(".")[0] == second["run_id"].rpartition(".")[0]


def test_cancelled_job(workers):
    job_id = workers.job("gate")
    workers.until(job_id, "task_started")
    workers.post(job_id, "cancel")
    workers.finished(job_id)
    log = workers.log(job_id)
    assert statuses(log) == [("job_cancelled", "cancelled")]
    assert kinds(log)[-1] == "job_cancelled"
