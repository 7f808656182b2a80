"""Loops that go on whatever happens, and the process that runs them."""

import logging
import threading
import time
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from django.db import connection
from django.utils import timezone

from events.exceptions import RedisUnavailable
from events.log_format import summarize_error
from events.models import ArchivedEvent, EventLog, Processor
from events.processor.loop import Loop, LoopRunner
from events.processor.processor import Processing, process_once, unfinished_business
from events.processor.status import is_running

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

WAIT = 15.0


def wait_for(condition, seconds=WAIT):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def supervise():
    """Runs loops until a condition holds, and stops them."""

    def supervise(*loops, until, within=5.0):
        supervisor = LoopRunner(loops)

        def done():
            supervisor.watch()
            return until()

        try:
            wait_for(done)
        finally:
            left = supervisor.stop(within)
        return left

    return supervise


def messages(caplog, name):
    return [record for record in caplog.records if record.message == name]


# Loops


def test_steps_follow_each_other_at_once_while_they_find_something(supervise):
    found = [3, 2, 1, 0]
    loop = Loop("work", lambda: found.pop(0) if found else 0, idle=30)
    start = time.monotonic()
    assert supervise(loop, until=lambda: loop.rounds == 4) == []
    assert time.monotonic() - start < 5
    assert (loop.events, loop.failures, loop.error) == (6, 0, "")


def test_a_loop_that_finds_nothing_pauses(supervise):
    rounds = []

    def step():
        rounds.append(time.monotonic())
        return 0

    supervise(Loop("idle", step, idle=0.1), until=lambda: len(rounds) >= 3)
    assert all(later - sooner >= 0.09 for sooner, later in pairwise(rounds))


def test_a_step_that_raises_is_told_and_tried_again(supervise, caplog):
    rounds = []

    def step():
        rounds.append(time.monotonic())
        if len(rounds) <= 2:
            raise RedisUnavailable("Redis did not answer.\nSomebody's data")
        return 0

    loop = Loop("work", step)
    supervise(loop, until=lambda: loop.rounds)
    first, second = (record.__dict__ for record in messages(caplog, "loop_failed"))
    assert (first["loop"], first["error"]) == ("work", "RedisUnavailable: Redis did not answer.")
    assert (first["retry_in"], second["retry_in"]) == (0.5, 1.0)
    assert rounds[1] - rounds[0] >= 0.5
    assert rounds[2] - rounds[1] >= 1.0
    assert first["exc_info"] is None
    assert (loop.numbers()["failures"], loop.numbers()["failing"]) == (2, False)
    assert loop.numbers()["succeeded_at"]


def test_what_nobody_expected_is_told_with_a_traceback(supervise, caplog):
    def step():
        raise ZeroDivisionError

    loop = Loop("work", step)
    supervise(loop, until=lambda: loop.failures)
    (record, *_) = messages(caplog, "loop_failed")
    assert record.levelno == logging.ERROR
    assert record.exc_info


def test_the_pause_after_failures_has_an_end():
    loop = Loop("work", lambda: 0)
    pauses = [loop._failed(ValueError()) for _ in range(8)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
    loop._round()
    assert loop._failed(ValueError()) == 0.5


def test_one_failing_loop_holds_up_no_other(supervise):
    def fail():
        raise RedisUnavailable

    good, bad = Loop("good", lambda: 0, idle=0.01), Loop("bad", fail)
    supervise(good, bad, until=lambda: good.rounds > 20)
    assert bad.failures


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_started_again(supervise, caplog):
    rounds = []

    def step():
        rounds.append(threading.get_ident())
        if len(rounds) == 1:
            raise SystemExit
        return 0

    loop = Loop("work", step)
    supervise(loop, until=lambda: loop.rounds)
    assert len(rounds) >= 2
    (record,) = messages(caplog, "loop_restarted")
    assert record.__dict__["loop"] == "work"
    assert loop.failures == 1


def test_a_stop_lets_the_step_finish(supervise):
    steps = {"begun": 0, "ended": 0}

    def step():
        steps["begun"] += 1
        time.sleep(0.5)
        steps["ended"] += 1
        return 1

    assert supervise(Loop("work", step), until=lambda: steps["begun"]) == []
    assert steps["begun"] == steps["ended"]


def test_a_step_that_hangs_is_named_and_not_waited_for_for_ever(supervise):
    released = threading.Event()

    def hang():
        released.wait(WAIT)
        return 0

    start = time.monotonic()
    loops = (Loop("hangs", hang), Loop("works", lambda: 0))
    try:
        assert supervise(*loops, until=lambda: loops[1].rounds, within=0.3) == ["hangs"]
        assert time.monotonic() - start < 5
    finally:
        released.set()


def test_a_broken_connection_to_the_database_is_replaced(supervise):
    """As when PostgreSQL is restarted: the next step but one works again."""
    counts = []

    def step():
        counts.append(EventLog.objects.count())
        if len(counts) == 1:
            break_connection()
        return 0

    loop = Loop("work", step, idle=0.01)
    supervise(loop, until=lambda: len(counts) >= 3)
    assert loop.failures == 1


def break_connection():
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor, pytest.raises(Exception, match="terminat"):
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        connection.errors_occurred = False
    else:
        connection.connection.close()


def test_a_thread_leaves_no_connection_behind(supervise):
    kept = []

    def step():
        EventLog.objects.exists()
        kept.append(connection.connection)
        return 0

    supervise(Loop("work", step), until=lambda: kept)
    with pytest.raises(Exception, match="closed"):
        kept[0].execute("SELECT 1")


def test_an_error_in_a_line():
    assert summarize_error(ValueError("a\nb")) == "ValueError: a"
    assert summarize_error(ValueError()) == "ValueError: "
    assert len(summarize_error(ValueError("x" * 5000))) == 300
    assert "\0" not in summarize_error(ValueError("a\0b"))


# The process


@pytest.fixture
def run():
    """Runs a Processing of little steps until a condition holds."""

    def run(until, within=5.0, **steps):
        processing = Processing(steps or {"relay": lambda: 0})
        deadline = time.monotonic() + WAIT
        left = processing.run(lambda: until() or time.monotonic() > deadline, within=within)
        assert time.monotonic() <= deadline, "it did not happen in time"
        return left

    return run


def test_a_processor_is_seen_while_it_runs(run):
    seen = []

    def until():
        seen.extend(Processor.objects.all())
        return seen

    assert run(until, relay=lambda: 0, archiver=lambda: 0) == []
    (processor,) = seen
    assert processor.name.count(":") == 1
    assert processor.started_at <= processor.heartbeat_at
    assert set(processor.loops) == {"relay", "archiver", "heartbeat", "health"}
    assert set(processor.loops["relay"]) == {
        "rounds", "events", "failures", "failing", "error", "succeeded_at",
    }  # fmt: skip
    assert not Processor.objects.exists()
    assert not is_running()


def test_processors_that_were_not_seen_for_a_day_are_forgotten(run):
    now = timezone.now()
    for name, days in (("old:1", 2), ("dead:1", 0.5)):
        at = now - timedelta(days=days)
        Processor.objects.create(name=name, started_at=at, heartbeat_at=at)
    run(lambda: not Processor.objects.filter(name="old:1").exists())
    assert [processor.name for processor in Processor.objects.all()] == ["dead:1"]


def test_a_health_line_at_the_start_and_at_the_end(run, caplog):
    caplog.set_level(logging.INFO)
    run(lambda: messages(caplog, "process_events_status"), relay=lambda: 0)
    first, last = (record.__dict__ for record in messages(caplog, "process_events_status"))
    assert (first["state"], last["state"]) == ("running", "stopped")
    assert (first["outbox"], first["archive_lag"], first["stalled"]) == (0, 0, 0)
    assert first["redis"] == "ok"
    assert last["relay_events"] >= 0


def test_a_health_line_without_redis(run, caplog, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": "unix:///nonexistent/redis.sock"}
    caplog.set_level(logging.INFO)
    run(lambda: messages(caplog, "process_events_status"))
    first = messages(caplog, "process_events_status")[0].__dict__
    assert (first["archive_lag"], first["redis"]) == (None, "Redis did not answer.")


def test_a_loop_that_hangs_is_told_at_the_end(run, caplog):
    caplog.set_level(logging.INFO)
    released = threading.Event()
    begun = threading.Event()

    def hang():
        begun.set()
        released.wait(WAIT)
        return 0

    try:
        assert run(begun.is_set, within=0.5, relay=hang) == ["relay"]
    finally:
        released.set()
    assert messages(caplog, "process_events_status")[-1].__dict__["left"] == ["relay"]
    assert not Processor.objects.exists()


# Once


def test_once_goes_on_until_nobody_finds_anything():
    relay, archiver = [2, 1, 0, 0, 0], [0, 3, 0, 1, 0]
    steps = {"relay": lambda: relay.pop(0), "archiver": lambda: archiver.pop(0)}
    done = process_once(steps, timeout=30)
    assert (done.counts, done.idle) == ({"relay": 3, "archiver": 3}, True)
    assert (relay, archiver) == ([0, 0], [1, 0])


def test_once_ends_when_its_time_is_over():
    def step():
        time.sleep(0.05)
        return 1

    done = process_once({"relay": step}, timeout=0.3)
    assert not done.idle
    assert 1 <= done.counts["relay"] <= 8
    assert "There is more to do" in unfinished_business(done)


def test_once_waits_for_what_was_committed_just_before():
    log = EventLog.objects.create(job_id="abc")
    row = {"log": log, "event_type": "x", "timestamp": "x", "data": "{}"}
    ArchivedEvent.objects.create(**row, written_at=timezone.now() - timedelta(seconds=0.8))

    def relay():
        """Like the real one, leaves what is new to whoever committed it."""
        old = ArchivedEvent.objects.filter(written_at__lt=timezone.now() - timedelta(seconds=1))
        return old.delete()[0]

    done = process_once({"relay": relay}, timeout=30)
    assert done.counts == {"relay": 1}
    assert unfinished_business(done) == ""


def test_once_says_what_is_left_in_the_outbox():
    log = EventLog.objects.create(job_id="abc")
    row = {"log": log, "event_type": "x", "timestamp": "x", "data": "{}"}
    ArchivedEvent.objects.create(**row, written_at=timezone.now())
    done = process_once({"relay": lambda: 0}, timeout=30)
    assert 1.5 < done.seconds < 10
    assert "events in the outbox" in unfinished_business(done)


def test_once_says_what_is_not_archived(redis_client):
    """A log that somebody's transaction holds is left out."""
    redis_client.xadd("job_events:abc", {"data": "{}"})
    time.sleep(0.1)
    done = process_once({"archiver": lambda: 0}, timeout=30)
    assert "not archived" in unfinished_business(done)
    assert unfinished_business(replace(done, seconds=10)) == ""  # it came after the start


def test_once_raises_what_a_step_raises():
    def step():
        raise RedisUnavailable

    with pytest.raises(RedisUnavailable):
        process_once({"relay": step}, timeout=1)
