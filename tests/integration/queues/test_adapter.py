"""The base of all adapters of queues."""

import threading
import time
from contextlib import nullcontext, suppress

import pytest
from django.db import connection

from events.exceptions import DeliveryRejected, JobCancelled
from events.execution import adapter as adapter_module
from events.execution import run
from events.execution.adapter import QueueAdapter, get_adapter, register_adapter, run_coroutine
from events.execution.heartbeat import HeartbeatThread
from events.execution.run import Delivery, current_run
from events.execution.tracker import run_tracker
from events.history import read_events
from jobs import services
from jobs.models import Job

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


class Adapter(QueueAdapter):
    name = "test"


@pytest.fixture(autouse=True)
def job():
    yield services.job_create(job_id="abc", task_type="manual")
    assert current_run() is None


def message(key="k1", **more):
    return Delivery(
        **{"queue": "test", "external_id": key, "job_id": "abc", "task_type": "work", **more}
    )


def row():
    return Job.objects.get(job_id="abc")


def log():
    return [event.event_type for event in read_events("abc")]


def test_a_coroutine_in_its_callers_thread(monkeypatch):
    """It cannot be interrupted and may not query the database; it may call should_cancel."""
    monkeypatch.setattr(run, "HEARTBEAT_SECONDS", 0.0)

    async def looks():
        return current_run().should_cancel()

    result = Adapter().run(message(sends_heartbeats=False), lambda: run_coroutine(looks()))
    assert (result, row().status) == (False, "completed")


def test_a_task_that_is_told_of():
    run = Adapter().begin(message())
    assert (current_run(), row().status) == (run, "running")
    Adapter().finish(run, {"pages": 2})
    assert (row().status, row().result) == ("completed", {"pages": 2})


def test_a_task_that_is_told_to_have_failed():
    run = Adapter().begin(message())
    Adapter().finish(run, error=ValueError("what a pity"))
    assert (row().status, row().error) == ("failed", "what a pity")


def test_the_heart_beats_until_the_end_is_told():
    adapter = Adapter()
    run = adapter.begin(message())
    services.job_cancel(job_id="abc")
    while not run.stopped:
        time.sleep(0.01)
    adapter.finish(run, error=JobCancelled())
    assert log() == ["job_created", "task_started", "job_cancelled"]


@pytest.mark.parametrize("how", ["completed", "failed"])
def test_the_database_has_closed_the_connection_while_the_task_ran(how):
    """It was idle for hours, or the server was started anew."""

    def works():
        if connection.vendor == "postgresql":
            pid = connection.connection.info.backend_pid
            with suppress(connection.Database.OperationalError):  # Django is not told of it
                connection.connection.execute(f"SELECT pg_terminate_backend({pid})")
        if how == "failed":
            raise ValueError("what a pity")
        return "done"

    with nullcontext() if how == "completed" else pytest.raises(ValueError, match="pity"):
        Adapter().run(message(), works)
    assert (row().status, row().error) == (how, "what a pity" if how == "failed" else "")


def test_a_task_is_not_spoken_for_whose_beginning_was_broken_off(monkeypatch):
    """No thread could be had for the heartbeat, or a soft time limit came just then."""

    def broken(_thread):
        raise RuntimeError("can't start new thread")

    adapter, beats = Adapter(), []
    monkeypatch.setattr(adapter_module, "heartbeat_thread", HeartbeatThread())
    monkeypatch.setattr(
        type(run_tracker()), "send_heartbeats", lambda _tracker, runs: beats.append(runs) or ()
    )
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", broken)
        with pytest.raises(RuntimeError, match="new thread"):
            adapter.run(message(), lambda: pytest.fail("it was run"))
    assert current_run() is None
    second = adapter.begin(message("k2", relatives=("k1",)))
    while not beats:
        time.sleep(0.01)
    adapter.finish(second, 1)
    assert beats[0] == [second]


def test_a_task_that_works_on_though_its_job_is_cancelled():
    run = Adapter().begin(message())
    services.job_cancel(job_id="abc")
    Adapter().finish(run, "in vain")
    assert log() == ["job_created", "task_started", "job_cancelled"]


def test_a_task_that_is_not_to_be_run():
    services.job_cancel(job_id="abc")
    with pytest.raises(DeliveryRejected, match="cancelled"):
        Adapter().begin(message())
    assert Adapter().run(message(), lambda: pytest.fail("it was run")) is None


def test_a_task_of_no_job():
    with pytest.raises(LookupError):
        Adapter().begin(message(job_id="nothing"))


def test_the_end_cannot_be_told(monkeypatch):
    """The queue is to know, and the job fails."""

    def broken(*_args, **_more):
        raise ValueError("cannot be kept")

    run = Adapter().begin(message())
    monkeypatch.setattr(run_tracker(), "complete", broken)
    with pytest.raises(ValueError, match="kept"):
        Adapter().finish(run, 1)
    assert (row().status, row().error) == ("failed", "cannot be kept")


def test_a_task_within_a_task():
    adapter = Adapter()
    outer = adapter.begin(message("k1"))
    inner = adapter.begin(message("k2", relatives=("k1",)))
    assert current_run() is inner
    adapter.finish(inner, 2)
    assert (current_run(), row().status) == (outer, "running")
    adapter.finish(outer, 1)
    assert (row().status, row().result) == ("completed", 1)


def test_an_adapter_is_found_by_its_name(monkeypatch):
    with pytest.raises(LookupError, match=r"celery.*django_tasks"):
        get_adapter("test")
    monkeypatch.setattr(adapter_module, "adapters", dict(adapter_module.adapters))
    register_adapter(Adapter)
    assert isinstance(get_adapter("test"), Adapter)
    assert get_adapter("django_tasks").name == "django_tasks"
