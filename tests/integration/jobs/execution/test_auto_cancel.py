"""Automatic cancellation of jobs whose last subscriber has left."""

import asyncio

import pytest

from events.exceptions import RedisUnavailable
from events.history import read_events
from events.live.presence import PRESENCE_TTL_SECONDS, mark_watched
from events.streams.clients import get_redis
from jobs import services
from jobs.execution import auto_cancel
from jobs.execution.auto_cancel import AutoCanceller
from jobs.models import Job
from tests.integration.jobs.asgi import Socket, cookie_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def auto_cancel_settings(settings):
    settings.JOB_EVENTS = {
        **settings.JOB_EVENTS, "AUTO_CANCEL_SECONDS": {"chat": 20}, "RECHECK_LOGINS": 0.1,
    }  # fmt: skip


@pytest.fixture
def job(user):
    services.job_create(job_id="abc", task_type="chat", owner=user)
    return services.job_start(job_id="abc")


@pytest.fixture
def canceller():
    """A canceller that has observed for long and runs at every step."""

    class EagerCanceller(AutoCanceller):
        def step(self):
            if self._ran_at < 0:
                super().step()
                self._observing_since -= 1000
            self._ran_at -= 2
            return super().step()

    return EagerCanceller()


def set_unwatched(seconds, job_id="abc"):
    """Record that the last subscriber of the job left some seconds ago."""
    mark_watched([job_id])
    (key,) = get_redis().keys(f"*{job_id}*:watched")
    get_redis().expire(key, PRESENCE_TTL_SECONDS - seconds)


def status():
    return Job.objects.get(job_id="abc").status


def test_unwatched_job_is_cancelled(job, canceller):
    set_unwatched(19)
    assert canceller.step() == 0
    set_unwatched(21)
    assert canceller.step() == 1
    assert status() == "cancelled"
    last = read_events("abc")[-1].data
    assert (last["event_type"], last["reason"]) == ("job_cancelled", "unwatched")
    assert canceller.step() == 0


def test_never_watched_job_continues(job, canceller):
    assert canceller.step() == 0
    assert status() == "running"


def test_retried_job_counts_as_never_watched(job, canceller):
    set_unwatched(21)
    canceller.step()
    services.job_retry(job_id="abc")
    services.job_start(job_id="abc")
    assert canceller.step() == 0
    set_unwatched(21)
    assert canceller.step() == 1


def test_other_task_type_continues(job, canceller, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "AUTO_CANCEL_SECONDS": {"talk": 20}}
    set_unwatched(100)
    assert canceller.step() == 0


def test_disabled(job, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "AUTO_CANCEL_SECONDS": {}}
    set_unwatched(100)
    assert AutoCanceller().step() == 0


def test_time_before_start_does_not_count(job):
    set_unwatched(100)
    started = AutoCanceller()
    assert started.step() == 0
    started._ran_at -= 2
    started._observing_since -= 19
    assert started.step() == 0
    started._ran_at -= 2
    started._observing_since -= 2
    assert started.step() == 1


def test_redis_outage_restarts_the_time(job, canceller, monkeypatch):
    set_unwatched(10)
    assert canceller.step() == 0

    def unavailable(_job_ids):
        raise RedisUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(auto_cancel, "seconds_since_watched", unavailable)
        with pytest.raises(RedisUnavailable):
            canceller.step()
    set_unwatched(100)
    canceller._ran_at -= 20
    assert canceller.step() == 0
    assert status() == "running"


def is_recorded():
    return bool(get_redis().keys("*abc*:watched"))


async def test_subscriber_is_recorded_repeatedly(job, user):
    cookie = (b"cookie", (await cookie_of(user)).encode())
    socket = Socket("/ws/jobs/abc/", [(b"origin", b"http://localhost"), cookie])
    assert await socket.connect() is None
    await socket.until("live")
    for _ in range(2):
        for _ in range(400):
            if is_recorded():
                break
            await asyncio.sleep(0.05)
        assert is_recorded()
        get_redis().delete(*get_redis().keys("*abc*:watched"))
    await socket.disconnect()
