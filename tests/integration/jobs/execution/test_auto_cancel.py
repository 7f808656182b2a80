"""A job whose last viewer has left is cancelled after a while, where the project wants that."""

import asyncio

import pytest

from events.exceptions import RedisUnavailable
from events.history import read_events
from events.live.presence import REMEMBERED_SECONDS, mark_watched, seconds_since_watched
from events.streams.clients import get_redis
from jobs import services
from jobs.execution import auto_cancel
from jobs.execution.auto_cancel import AutoCanceller, record_watched
from jobs.models import Job
from tests.integration.jobs.asgi import Socket, cookie_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _impatient(settings):
    settings.JOB_EVENTS = {
        **settings.JOB_EVENTS, "CANCEL_UNWATCHED": {"chat": 20}, "RECHECK_LOGINS": 0.1,
    }  # fmt: skip


@pytest.fixture
def job(user):
    services.job_create(job_id="abc", task_type="chat", owner=user)
    return services.job_start(job_id="abc")


@pytest.fixture
def looking():
    """One that has listened for long, and looks each time it is asked."""

    class Looking(AutoCanceller):
        def step(self):
            if self._ran_at < 0:
                super().step()
                self._observing_since -= 1000
            self._ran_at -= 2
            return super().step()

    return Looking()


def left(seconds, job_id="abc"):
    """Somebody has viewed the job, and left so long ago."""
    mark_watched([job_id])
    (key,) = get_redis().keys(f"*{job_id}*:watched")
    get_redis().expire(key, REMEMBERED_SECONDS - seconds)


def status():
    return Job.objects.get(job_id="abc").status


def test_a_job_that_nobody_watches_any_more(job, looking):
    left(19)
    assert looking.step() == 0
    left(21)
    assert looking.step() == 1
    assert status() == "cancelled"
    last = read_events("abc")[-1].data
    assert (last["event_type"], last["reason"]) == ("job_cancelled", "unwatched")
    assert looking.step() == 0


def test_a_job_that_nobody_has_watched_yet(job, looking):
    assert looking.step() == 0
    assert status() == "running"


def test_a_job_that_nobody_watched_since_it_was_tried_again(job, looking):
    left(21)
    looking.step()
    services.job_retry(job_id="abc")
    services.job_start(job_id="abc")
    assert looking.step() == 0
    left(21)
    assert looking.step() == 1


def test_a_job_of_another_type_goes_on(job, looking, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "CANCEL_UNWATCHED": {"talk": 20}}
    left(100)
    assert looking.step() == 0


def test_nobody_is_asked_where_it_is_not_wanted(job, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "CANCEL_UNWATCHED": {}}
    record_watched(["abc"])
    assert seconds_since_watched(["abc"]) == {}
    assert AutoCanceller().step() == 0


def test_what_was_not_listened_to_does_not_count(job):
    left(100)
    impatient = AutoCanceller()
    assert impatient.step() == 0
    impatient._ran_at -= 2
    impatient._observing_since -= 19
    assert impatient.step() == 0
    impatient._ran_at -= 2
    impatient._observing_since -= 2
    assert impatient.step() == 1


def test_after_redis_was_away_all_have_their_time_again(job, looking, monkeypatch):
    left(10)
    assert looking.step() == 0

    def away(_job_ids):
        raise RedisUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(auto_cancel, "seconds_since_watched", away)
        with pytest.raises(RedisUnavailable):
            looking.step()
    left(100)
    looking._ran_at -= 20
    assert looking.step() == 0
    assert status() == "running"


def is_said():
    return bool(get_redis().keys("*abc*:watched"))


async def test_a_viewer_says_so(job, user):
    """Again and again, as long as they are there."""
    cookie = (b"cookie", (await cookie_of(user)).encode())
    socket = Socket("/ws/jobs/abc/", [(b"origin", b"http://localhost"), cookie])
    assert await socket.connect() is None
    await socket.until("live")
    for _ in range(2):
        for _ in range(400):
            if is_said():
                break
            await asyncio.sleep(0.05)
        assert is_said()
        get_redis().delete(*get_redis().keys("*abc*:watched"))
    await socket.leave()
