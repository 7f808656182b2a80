"""`QueueAdapter`, the base class of queue adapters."""

import threading
import time
from contextlib import nullcontext, suppress

import pytest
from django.db import OperationalError, connection

from events.exceptions import DeliveryRejected, JobCancelled
from events.execution import adapter as adapter_module
from events.execution import run
from events.execution import tracker as tracker_module
from events.execution.adapter import QueueAdapter, get_adapter, register_adapter, run_coroutine
from events.execution.heartbeat import HeartbeatThread
from events.execution.run import Delivery, current_run
from events.execution.tracker import run_tracker
from events.history import read_events
from jobs import services
from jobs.models import Job
from tests.support.database import ERRORS, failing_database

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


class Adapter(QueueAdapter):
    name = "test"


@pytest.fixture(autouse=True)
def job():
    yield services.job_create(job_id="abc", task_type="manual")
    assert current_run() is None


def message(key="k1", **fields):
    return Delivery(
        **{"queue": "test", "external_id": key, "job_id": "abc", "task_type": "work", **fields}
    )


def row():
    return Job.objects.get(job_id="abc")


def log():
    return [event.event_type for event in read_events("abc")]


def test_coroutine_without_heartbeats(monkeypatch):
    """`should_cancel` returns False: a coroutine may not query the database."""
    monkeypatch.setattr(run, "HEARTBEAT_SECONDS", 0.0)

    async def check():
        return current_run().should_cancel()

    result = Adapter().run(message(sends_heartbeats=False), lambda: run_coroutine(check()))
    assert (result, row().status) == (False, "completed")


def test_begin_and_finish():
    run = Adapter().begin(message())
    assert (current_run(), row().status) == (run, "running")
    Adapter().finish(run, {"pages": 2})
    assert (row().status, row().result) == ("completed", {"pages": 2})


def test_finish_with_error():
    run = Adapter().begin(message())
    Adapter().finish(run, error=ValueError("out of paper"))
    assert (row().status, row().error) == ("failed", "out of paper")


def test_heartbeats_continue_until_finish():
    adapter = Adapter()
    run = adapter.begin(message())
    services.job_cancel(job_id="abc")
    while not run.stopped:
        time.sleep(0.01)
    adapter.finish(run, error=JobCancelled())
    assert log() == ["job_created", "task_started", "job_cancelled"]


@pytest.mark.parametrize("how", ["completed", "failed"])
def test_database_connection_closed_while_task_runs(how):
    """After hours idle, or a restart of the server."""

    def work():
        if connection.vendor == "postgresql":
            pid = connection.connection.info.backend_pid
            with suppress(connection.Database.OperationalError):  # Django does not detect it
                connection.connection.execute(f"SELECT pg_terminate_backend({pid})")
        if how == "failed":
            raise ValueError("out of paper")
        return "done"

    with nullcontext() if how == "completed" else pytest.raises(ValueError, match="paper"):
        Adapter().run(message(), work)
    assert (row().status, row().error) == (how, "out of paper" if how == "failed" else "")


def test_interrupted_begin_sends_no_heartbeats(monkeypatch):
    """No thread was available for the heartbeats, or a soft time limit interrupted `begin`."""

    def fail(_thread):
        raise RuntimeError("can't start new thread")

    adapter, heartbeats = Adapter(), []
    monkeypatch.setattr(adapter_module, "heartbeat_thread", HeartbeatThread())
    monkeypatch.setattr(
        type(run_tracker()), "send_heartbeats", lambda _tracker, runs: heartbeats.append(runs) or ()
    )
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="new thread"):
            adapter.run(message(), lambda: pytest.fail("the task ran"))
    assert current_run() is None
    second = adapter.begin(message("k2", relatives=("k1",)))
    while not heartbeats:
        time.sleep(0.01)
    adapter.finish(second, 1)
    assert heartbeats[0] == [second]


def test_result_of_cancelled_job_is_discarded():
    run = Adapter().begin(message())
    services.job_cancel(job_id="abc")
    Adapter().finish(run, "discarded")
    assert log() == ["job_created", "task_started", "job_cancelled"]


def test_rejected_delivery():
    services.job_cancel(job_id="abc")
    with pytest.raises(DeliveryRejected, match="cancelled"):
        Adapter().begin(message())
    assert Adapter().run(message(), lambda: pytest.fail("the task ran")) is None


def test_unknown_job():
    with pytest.raises(LookupError):
        Adapter().begin(message(job_id="unknown"))


def test_failing_complete_fails_job(monkeypatch):
    """The error is raised to the queue, too."""

    def fail(*_args, **_more):
        raise ValueError("not serializable")

    run = Adapter().begin(message())
    monkeypatch.setattr(run_tracker(), "complete", fail)
    with pytest.raises(ValueError, match="serializable"):
        Adapter().finish(run, 1)
    assert (row().status, row().error) == ("failed", "not serializable")


@pytest.mark.parametrize("method", ["claim", "complete", "fail"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_record_is_repeated_while_the_database_fails(monkeypatch, method, error, caplog):
    def record(*args, **more):
        if failures:
            raise failures.pop()
        return original(*args, **more)

    failures, original = [error, error], getattr(run_tracker(), method)
    monkeypatch.setattr(run_tracker(), method, record)
    monkeypatch.setattr(tracker_module, "_RETRY_SECONDS", 0.001)
    if method == "fail":
        with pytest.raises(ValueError, match="paper"):
            Adapter().run(message(), fail_without_paper)
        assert (row().status, row().error) == ("failed", "out of paper")
    else:
        assert Adapter().run(message(), lambda: 1) == 1
        assert (row().status, row().result) == ("completed", 1)
    assert not failures
    assert caplog.messages.count("task_record_deferred") == 2


def fail_without_paper():
    raise ValueError("out of paper")


def test_record_fails_if_the_database_stays_unavailable(monkeypatch):
    """The reaper fails the job when the database is back."""
    run = Adapter().begin(message())
    monkeypatch.setattr(tracker_module, "_MAX_OUTAGE_SECONDS", 0.0)
    with failing_database(), pytest.raises(OperationalError):
        Adapter().finish(run, 1)
    assert current_run() is None
    assert row().status == "running"


def test_record_that_has_committed_is_not_repeated(monkeypatch):
    """The connection is lost after the commit."""

    def complete(*args, **more):
        calls.append(args)
        original(*args, **more)
        if len(calls) == 1:
            raise OperationalError("server closed the connection unexpectedly")

    calls, original = [], run_tracker().complete
    monkeypatch.setattr(run_tracker(), "complete", complete)
    monkeypatch.setattr(tracker_module, "_RETRY_SECONDS", 0.001)
    Adapter().run(message(), lambda: 1)
    assert len(calls) == 2
    assert (row().status, row().result) == ("completed", 1)
    assert log() == ["job_created", "task_started", "task_completed"]


def test_nested_task():
    adapter = Adapter()
    outer = adapter.begin(message("k1"))
    inner = adapter.begin(message("k2", relatives=("k1",)))
    assert current_run() is inner
    adapter.finish(inner, 2)
    assert (current_run(), row().status) == (outer, "running")
    adapter.finish(outer, 1)
    assert (row().status, row().result) == ("completed", 1)


def test_adapter_registry(monkeypatch):
    with pytest.raises(LookupError, match=r"celery.*django_tasks"):
        get_adapter("test")
    monkeypatch.setattr(adapter_module, "adapters", dict(adapter_module.adapters))
    register_adapter(Adapter)
    assert isinstance(get_adapter("test"), Adapter)
    assert get_adapter("django_tasks").name == "django_tasks"
