"""Celery tasks executed by a real worker: log and row."""

import pytest

from tests.support.workers import ends, kinds

START = ["job_created", "task_started"]


def test_completed_task(workers):
    job_id = workers.job("steps")
    row = workers.finished(job_id)
    assert (row["status"], row["progress"], row["result"]) == ("completed", 100.0, {"steps": 3})
    log = workers.log(job_id)
    assert kinds(log) == [*START, *["task_progress"] * 3, "worked", "task_completed"]
    assert [event["message"] for event in log[2:5]] == ["step 0", "step 1", "step 2"]
    assert "@" in log[1]["worker"]
    assert {event["attempt"] for event in log if event["event_type"] != "worked"} == {1}


def test_failed_task(workers):
    job_id = workers.job("fails")
    row = workers.finished(job_id)
    assert (row["status"], row["error"]) == ("failed", "out of paper")
    assert kinds(workers.log(job_id)) == [*START, "task_failed"]
    failed = workers.log(job_id)[-1]
    assert failed["error_type"] == "ValueError"
    traceback = failed["data"]["traceback"]
    assert traceback.startswith('File "tests/support/worker_tasks.py", line ')
    assert traceback.endswith('raise ValueError("out of paper")')


def test_retried_task(workers):
    job_id = workers.job("tries_again")
    assert workers.finished(job_id)["result"] == "after 2"
    log = workers.log(job_id)
    tries = ["task_retry", "task_started"]
    assert kinds(log) == [*START, *tries, *tries, "task_completed"]
    assert (log[2]["error"], log[2]["retry_in"], log[2]["job_status"]) == ("try 0", 0.2, "running")
    assert [event.get("retries") for event in log if event["event_type"] == "task_started"] == [
        None, 1, 2,
    ]  # fmt: skip


def test_retry_limit(workers):
    job_id = workers.job("tries_again", times=5, countdown=0)
    assert workers.finished(job_id)["error"] == "try 2"
    assert kinds(workers.log(job_id)).count("task_retry") == 2
    assert ends(workers.log(job_id)) == [(1, "task_failed")]


@pytest.mark.parametrize("limit", ["soft", "hard"])
def test_time_limit(workers, limit):
    job_id = workers.job(limit)
    assert "limit" in workers.finished(job_id)["error"]
    log = workers.log(job_id)
    assert kinds(log) == [*START, "task_failed"]
    assert log[-1]["reason"] == "timed_out"


def test_coroutine(workers):
    job_id = workers.job("coroutine")
    assert workers.finished(job_id)["result"] == "awaited"
    assert kinds(workers.log(job_id)) == [*START, *["awaited"] * 3, "task_completed"]


def test_asyncio_run_in_a_task_reuses_connection(workers):
    workers.finished(workers.job("loops"))
    job_id = workers.job("loops", count=30)
    # The test and the site open connections, too, but far fewer than 30.
    assert workers.finished(job_id)["result"] <= 5
    assert kinds(workers.log(job_id)).count("looped") == 30


def test_decorated_task(workers):
    job_id = workers.job("decorated")
    assert workers.finished(job_id)["result"] == "decorated"
    log = workers.log(job_id)
    assert kinds(log) == [*START, "task_progress", "task_completed"]
    assert log[1]["task_type"] == "decorated_work"


def test_decorated_task_with_autoretry(workers):
    job_id = workers.job("decorated_tries")
    assert workers.finished(job_id)["status"] == "completed"
    assert kinds(workers.log(job_id)) == [*START, "task_retry", "task_started", "task_completed"]


def linked(log):
    return [event["name"] for event in log if event["event_type"] == "linked"]


def test_chain_is_one_job(workers):
    job_id = workers.job("chained")
    assert workers.finished(job_id)["result"] == "abc"
    log = workers.log(job_id)
    link = ["task_started", "linked", "task_completed"]
    assert kinds(log) == ["job_created", *link, *link, *link]
    assert linked(log) == ["a", "b", "c"]
    assert ends(log) == [(1, "task_completed")]


def test_failing_chain(workers):
    job_id = workers.job("chain_fails")
    assert workers.finished(job_id)["error"] == "b failed"
    log = workers.log(job_id)
    assert linked(log) == ["a", "b"]
    assert ends(log) == [(1, "task_failed")]


def test_group_is_one_job(workers):
    job_id = workers.job("grouped", count=6)
    assert workers.finished(job_id)["status"] == "completed"
    log = workers.log(job_id)
    assert sorted(linked(log)) == ["0", "1", "2", "3", "4", "5"]
    assert ends(log) == [(1, "task_completed")]


def test_chord_is_one_job(workers):
    job_id = workers.job("chorded")
    assert workers.finished(job_id)["result"] == "0+1+2+3"
    log = workers.log(job_id)
    assert sorted(linked(log)) == ["0", "1", "2", "3"]
    assert ends(log) == [(1, "task_completed")]


def test_chord_in_a_chain_is_one_job(workers):
    job_id = workers.job("chord_in_chain")
    assert workers.finished(job_id)["result"] == "first0+first1+first2last"
    assert ends(workers.log(job_id)) == [(1, "task_completed")]


def test_task_that_sends_another(workers):
    job_id = workers.job("nested")
    assert workers.finished(job_id)["result"] == "inner"
    assert ends(workers.log(job_id)) == [(1, "task_completed")]
