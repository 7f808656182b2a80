"""Graphs in tasks of a real worker: events, cancellation, interrupts and resumption."""

import pytest

from tests.support.spans import span_trees
from tests.support.survey import assert_survey
from tests.support.workers import ends, kinds


def wait_for_question(workers, job_id, count=1):
    return workers.until(job_id, "input_requested", count)


def test_interrupted_graph_resumes(workers):
    """Any process of the pool resumes it: its state is in the checkpointer."""
    job_id = workers.job("interrupted_graph")
    question = wait_for_question(workers, job_id)
    assert question["prompt"] == {"text": "Shall it be sent?", "choices": ["yes", "no"]}
    assert question["choices"] == ["yes", "no"]
    answer = workers.post(job_id, "inputs", name=question["name"], value="yes")
    assert answer.status_code == 200
    row = workers.finished(job_id)
    assert row["result"] == {"drafts": 1, "sent": "yes"}
    log = workers.log(job_id)
    assert kinds(log).count("interrupted") == 1
    assert kinds(log).count("done") == 1
    assert "error" not in kinds(log)
    phases = [event["data"]["phase"] for event in log if event["event_type"] == "phase_update"]
    # Nodes before the interrupt do not run again.
    assert phases.count("draft") == 1
    assert ends(log) == [(1, "task_completed")]


def test_interrupts_of_parallel_branches(workers):
    job_id = workers.job("parallel_interrupts_graph")
    wait_for_question(workers, job_id, 2)
    questions = {
        event["prompt"]: event["name"]
        for event in workers.log(job_id)
        if event["event_type"] == "input_requested"
    }
    assert set(questions) == {"left?", "right?"}
    for prompt, name in questions.items():
        workers.post(job_id, "inputs", name=name, value=f"{prompt[:-1]}!")
    assert workers.finished(job_id)["result"] == ["left!", "right!"]


def test_interrupted_async_graph_resumes(workers):
    job_id = workers.job("async_interrupted_graph")
    question = wait_for_question(workers, job_id)
    workers.post(job_id, "inputs", name=question["name"], value="yes")
    assert workers.finished(job_id)["result"] == {"drafts": 1, "sent": "yes"}
    assert kinds(workers.log(job_id)).count("done") == 1


@pytest.mark.parametrize("task", ["survey_graph", "async_survey_graph"])
def test_spans_of_a_graph_in_tasks(workers, task):
    """The spans of both deliveries of the task contain those of the graph."""
    job_id = workers.job(task)
    question = wait_for_question(workers, job_id)
    workers.post(job_id, "inputs", name=question["name"], value="yes")
    assert workers.finished(job_id)["status"] == "failed"
    log = workers.log(job_id)
    first, second = span_trees(log)
    assert [first.name, second.name] == [task] * 2
    assert [first.status, second.status] == ["interrupted", "failed"]
    assert_survey(log, [*first.children, *second.children])


def test_breakpoint_is_a_question(workers):
    job_id = workers.job("breakpoint_graph")
    question = wait_for_question(workers, job_id)
    assert (question["prompt"], question["choices"]) == ("Continue with send?", ["continue"])
    assert kinds(workers.log(job_id)).count("interrupted") == 1
    workers.post(job_id, "inputs", name=question["name"], value="continue")
    question = wait_for_question(workers, job_id, 2)
    workers.post(job_id, "inputs", name=question["name"], value="yes")
    assert workers.finished(job_id)["result"] == {"drafts": 1, "sent": "yes"}


def test_cancelled_graph_stops(workers):
    job_id = workers.job("endless_graph")
    workers.until(job_id, "phase_update", 5)
    workers.post(job_id, "cancel")
    workers.until_log("task_stopped", job_id)
    log = workers.log(job_id)
    assert workers.row(job_id)["status"] == "cancelled"
    assert ends(log) == [(1, "job_cancelled")]
    assert "error" not in kinds(log)
    assert workers.finished(workers.job("steps"))["status"] == "completed"


def test_graph_restarts_after_worker_death(workers):
    """A new attempt has a new thread without the state of the former one."""
    job_id = workers.job("killed_graph", "child at drafted")
    row = workers.finished(job_id, until="completed")
    assert (row["attempt"], row["result"]) == (2, {"drafts": 1})
    assert ends(workers.log(job_id)) == [(1, "task_failed"), (2, "task_completed")]


def test_secrets_of_failed_graph_are_redacted(workers):
    """Also in Celery's log, which has the whole traceback."""
    planted = "sk-" + "ant-api03-Pl4nt3dK3y, password=hunter2, mail anna@example.com"
    job_id = workers.job("leaky_graph", prompt=planted)
    assert workers.finished(job_id)["status"] == "failed"
    workers.until_log("raised unexpected", "ConnectionError")
    log = workers.log(job_id)
    assert {"tool_call", "error", "task_failed"} <= set(kinds(log))
    logged = workers.log_of("worker")
    assert "KeyError" in logged
    for secret in ("Pl4nt3dK3y", "hunter2", "anna@"):
        assert secret not in f"{log} {workers.row(job_id)['error']}"
        assert secret not in logged
