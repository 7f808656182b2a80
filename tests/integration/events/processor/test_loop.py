"""Loops: repeat a step in a thread, retry after errors, stop in time."""

import logging
import threading
import time
from itertools import pairwise

import pytest
from django.db import connection

from events.exceptions import RedisUnavailable
from events.models import EventLog
from events.processor.loop import Loop, LoopRunner

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

TIMEOUT = 15.0


@pytest.fixture
def run_loops():
    """Run loops until a condition holds; return the names of those that did not stop."""

    def run_loops(*loops, until, timeout=5.0):
        runner = LoopRunner(loops)
        runner.start()
        deadline = time.monotonic() + TIMEOUT
        try:
            while not until():
                assert time.monotonic() < deadline, "the condition did not hold in time"
                time.sleep(0.02)
        finally:
            unfinished = runner.stop(timeout)
        return unfinished

    return run_loops


def messages(caplog, name):
    return [record for record in caplog.records if record.message == name]


def test_steps_that_find_work_follow_without_a_pause(run_loops):
    work = [3, 2, 1, 0]
    loop = Loop("work", lambda: work.pop(0) if work else 0, idle_seconds=30)
    assert run_loops(loop, until=lambda: loop.rounds == 4) == []
    assert (loop.events, loop.failures, loop.error) == (6, 0, "")


def test_idle_loop_pauses(run_loops):
    rounds = []

    def step():
        rounds.append(time.monotonic())
        return 0

    run_loops(Loop("idle", step, idle_seconds=0.1), until=lambda: len(rounds) >= 3)
    assert all(later - earlier >= 0.09 for earlier, later in pairwise(rounds))


def test_failed_step_is_logged_and_retried(run_loops, caplog):
    rounds = []

    def step():
        rounds.append(time.monotonic())
        if len(rounds) <= 2:
            raise RedisUnavailable("Redis did not answer.\nA user's data")
        return 0

    loop = Loop("work", step)
    run_loops(loop, until=lambda: loop.rounds)
    first, second = (record.__dict__ for record in messages(caplog, "loop_failed"))
    assert (first["loop"], first["error"]) == ("work", "RedisUnavailable: Redis did not answer.")
    assert (first["retry_in"], second["retry_in"]) == (0.5, 1.0)
    assert rounds[1] - rounds[0] >= 0.5
    assert rounds[2] - rounds[1] >= 1.0
    assert first["exc_info"] is None
    assert (loop.stats()["failures"], loop.stats()["failing"]) == (2, False)
    assert loop.stats()["succeeded_at"]


def test_unexpected_error_is_logged_with_a_traceback(run_loops, caplog):
    def step():
        raise ZeroDivisionError

    loop = Loop("work", step)
    run_loops(loop, until=lambda: loop.failures)
    (record, *_) = messages(caplog, "loop_failed")
    assert record.levelno == logging.ERROR
    assert record.exc_info


def test_retry_delay_is_bounded_and_reset_by_a_success():
    loop = Loop("work", lambda: 0)
    delays = [loop._record_failure(ValueError()) for _ in range(8)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
    loop._run_step()
    assert loop._record_failure(ValueError()) == 0.5


def test_failing_loop_does_not_delay_others(run_loops):
    def fail():
        raise RedisUnavailable

    good, bad = Loop("good", lambda: 0, idle_seconds=0.01), Loop("bad", fail)
    run_loops(good, bad, until=lambda: good.rounds > 20)
    assert bad.failures


class BrokenError(Exception):
    def __str__(self):
        raise ValueError


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, BrokenError])
def test_no_error_ends_a_loop(run_loops, caplog, error):
    rounds = []

    def step():
        rounds.append(threading.get_ident())
        if len(rounds) == 1:
            raise error
        return 0

    loop = Loop("work", step)
    run_loops(loop, until=lambda: loop.rounds)
    assert len(set(rounds)) == 1
    (record,) = messages(caplog, "loop_failed")
    assert record.__dict__["loop"] == "work"
    assert loop.failures == 1


def test_stop_waits_for_the_step_in_progress(run_loops):
    steps = {"started": 0, "completed": 0}

    def step():
        steps["started"] += 1
        time.sleep(0.5)
        steps["completed"] += 1
        return 1

    assert run_loops(Loop("work", step), until=lambda: steps["started"]) == []
    assert steps["started"] == steps["completed"]


def test_stop_returns_the_loops_that_hang(run_loops):
    released, returned = threading.Event(), []

    def hang():
        returned.append(released.wait(TIMEOUT))
        return 0

    loops = (Loop("hangs", hang), Loop("works", lambda: 0))
    try:
        assert run_loops(*loops, until=lambda: loops[1].rounds, timeout=0.3) == ["hangs"]
        assert not returned
    finally:
        released.set()


def test_broken_database_connection_is_replaced(run_loops):
    """As when PostgreSQL restarts: the step after the failed one succeeds."""
    counts = []

    def step():
        counts.append(EventLog.objects.count())
        if len(counts) == 1:
            break_connection()
        return 0

    loop = Loop("work", step, idle_seconds=0.01)
    run_loops(loop, until=lambda: len(counts) >= 3)
    assert loop.failures == 1


def break_connection():
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor, pytest.raises(Exception, match="terminat"):
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        connection.errors_occurred = False
    else:
        connection.connection.close()


def test_stopped_loop_leaves_no_database_connection_open(run_loops):
    kept = []

    def step():
        EventLog.objects.exists()
        kept.append(connection.connection)
        return 0

    run_loops(Loop("work", step), until=lambda: kept)
    with pytest.raises(Exception, match="closed"):
        kept[0].execute("SELECT 1")
