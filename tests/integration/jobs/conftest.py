"""Fixtures: jobs of any status, logs, an unavailable Redis, and API clients."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event as Flag
from threading import Thread
from time import monotonic, sleep
from typing import Any

import pytest
from django.db import connections, transaction
from django.http import HttpResponse
from django.test import Client

from events.archive.archiver import Archiver
from events.history import read_events
from events.outbox.relay import Relay
from events.outbox.writer import redis_breaker
from events.types import Event
from jobs import services, transitions
from jobs.models import Job

# The services that transition a new job to each status.
TRANSITIONS: dict[str, list[Callable[..., Job]]] = {
    "pending": [],
    "running": [services.job_start],
    "completed": [services.job_start, services.job_complete],
    "failed": [lambda *, job_id: services.job_fail(job_id=job_id, error="boom")],
    "cancelled": [services.job_cancel],
}


@pytest.fixture
def make_job(db: None) -> Callable[..., Job]:
    """Creates a job of a status through services; its task_type has no runner."""

    def make_job(status: str = "pending", **fields: Any) -> Job:
        job = services.job_create(**{"task_type": "manual", **fields})
        for service in TRANSITIONS[status]:
            job = service(job_id=job.job_id)
        return job

    return make_job


@pytest.fixture
def log() -> Callable[..., list[Event]]:
    """Returns the whole log of a job."""
    return lambda job: read_events(job if isinstance(job, str) else job.job_id)


@pytest.fixture
def log_types(log: Any) -> Callable[..., list[str]]:
    """Returns the event types in the log of a job."""
    return lambda job: [event.event_type for event in log(job)]


@pytest.fixture
def redis_down(settings: Any) -> Iterator[Callable[[], None]]:
    """Make Redis unavailable until the test calls the returned function."""
    before = settings.JOB_EVENTS
    settings.JOB_EVENTS = {**before, "REDIS_URL": "unix:///nonexistent/redis.sock"}

    def restore() -> None:
        settings.JOB_EVENTS = before
        # Close the circuit breaker: the test does not wait for its timeout.
        redis_breaker.record_success()

    yield restore
    restore()


@contextmanager
def locked_elsewhere(job_id: str = "abc") -> Iterator[None]:
    """Lock the row of a job in another transaction."""
    locked, done = Flag(), Flag()

    def hold() -> None:
        with transaction.atomic():
            transitions.lock_job(job_id)
            locked.set()
            done.wait(20)
        connections.close_all()

    thread = Thread(target=hold)
    thread.start()
    try:
        locked.wait(20)
        yield
    finally:
        done.set()
        thread.join()


def relayed(count: int) -> None:
    """Run the relay until it has appended `count` events; it skips the newest at first."""
    relay, appended = Relay(), 0
    deadline = monotonic() + 20
    while appended < count and monotonic() < deadline:
        appended += relay.step()
        sleep(0.05)
    assert appended == count


def archived() -> None:
    """Archive all events."""
    archiver = Archiver()
    while archiver.step():
        pass


class Api:
    """HTTP client of the API; a response that is not JSON fails the test."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def get(self, path: str, query: Any = None, **headers: str) -> HttpResponse:
        return self._json(self.client.get(f"/api/{path}", query, headers=headers))

    def post(self, path: str, body: Any = None, **headers: str) -> HttpResponse:
        data = body if isinstance(body, bytes) else json.dumps(body if body is not None else {})
        return self.send("post", path, data, **headers)

    def send(
        self,
        method: str,
        path: str,
        data: Any = b"",
        kind: str = "application/json",
        **headers: str,
    ) -> HttpResponse:
        send = getattr(self.client, method)
        return self._json(send(f"/api/{path}", data, content_type=kind, headers=headers))

    def _json(self, response: Any) -> HttpResponse:
        kind = response["Content-Type"]
        if response.status_code < 400:
            assert kind == "application/json", response.content[:200]
            return response
        assert kind == "application/problem+json", response.content[:200]
        problem = response.json()
        assert problem["status"] == response.status_code
        assert problem["type"].startswith("urn:job-events:")
        assert problem["title"]
        assert " " in problem["detail"]
        for error in problem.get("errors", []):
            assert error["field"]
            assert error["detail"] in problem["detail"]
        assert "Traceback" not in response_text(response)
        return response


def response_text(response: Any) -> str:
    """Return all strings of a response."""
    return " ".join(_texts(response.json()))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


@pytest.fixture
def api(client: Client, user: Any) -> Api:
    """The API as anna."""
    client.force_login(user)
    return Api(client)


@pytest.fixture
def anonymous_api() -> Api:
    """The API without a session."""
    return Api(Client())


@pytest.fixture
def other_api(other_user: Any) -> Api:
    """The API as bert, who may not see the jobs of anna."""
    client = Client()
    client.force_login(other_user)
    return Api(client)


@pytest.fixture
def staff_api(staff: Any) -> Api:
    """The API as staff."""
    client = Client()
    client.force_login(staff)
    return Api(client)
