"""Those who view and may not do so any more: what ends, and how soon it is known."""

import asyncio
import itertools
from contextlib import asynccontextmanager

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.sessions.models import Session
from django.db import transaction
from django.test import AsyncClient, override_settings
from django.utils import timezone

from events.publisher import get_publisher
from jobs.access import session_guard
from jobs.access.session_guard import Connection, SessionGuard
from jobs.access.tickets import make_ticket
from jobs.models import Job
from tests.integration.jobs.asgi import PATIENCE, Request, Socket, cookie_of, gone

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

in_thread = sync_to_async


@pytest.fixture(autouse=True)
def _soon(settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RECHECK_LOGINS": 0.1, "KEEP_ALIVE": 0.1}


@pytest.fixture
def job(user, make_job):
    return make_job(owner=user, job_id="abc")


@pytest.fixture
def clerk(django_user_model):
    """Somebody on the staff who may look at all jobs, as a member of a group."""
    clerk = django_user_model.objects.create_user("clerk", password="clerk", is_staff=True)
    group = Group.objects.create(name="clerks")
    group.permissions.add(Permission.objects.get(codename="view_job"))
    clerk.groups.add(group)
    return clerk


@asynccontextmanager
async def watching(path, cookie=""):
    headers = [(b"origin", b"http://localhost"), (b"cookie", cookie.encode())]
    socket = Socket(path, headers)
    assert await socket.connect() is None
    await socket.until("live")
    yield socket
    await socket.leave()


async def log_out(cookie):
    client = AsyncClient()
    client.cookies.load(cookie)
    await client.alogout()


def deactivate(user):
    get_user_model().objects.filter(pk=user.pk).update(is_active=False)


@transaction.atomic
def delete(user):
    Job.objects.update(owner=None)
    user.delete()


def new_password(user):
    user.set_password("other")
    user.save()


def expire(user):
    Session.objects.update(expire_date=timezone.now())


def give_away(user):
    Job.objects.update(owner=None)


LOGIN_IS_GONE = [deactivate, delete, new_password, expire]


@pytest.mark.parametrize("what", LOGIN_IS_GONE)
async def test_whoever_is_not_logged_in_any_more_is_closed(user, job, what):
    async with watching("/ws/jobs/abc/", await cookie_of(user)) as socket:
        await in_thread(what)(user)
        assert await socket.closing() == 4401


async def test_logging_out_closes_what_this_browser_views_and_no_other(user, job):
    first, second = await cookie_of(user), await cookie_of(user)
    async with watching("/ws/jobs/abc/", first) as one, watching("/ws/jobs/abc/", second) as other:
        await log_out(first)
        assert await one.closing() == 4401
        get_publisher().publish_event("abc", {"n": 7})
        assert 7 in await other.until(7)


async def test_a_job_that_is_somebody_elses_now_is_closed(user, staff, job):
    own, of_staff = await cookie_of(user), await cookie_of(staff)
    async with watching("/ws/jobs/abc/", own) as one, watching("/ws/jobs/abc/", of_staff) as other:
        await in_thread(give_away)(user)
        assert await one.closing() == 4404
        get_publisher().publish_event("abc", {"n": 7})
        assert 7 in await other.until(7)


def take_from_staff(clerk):
    get_user_model().objects.filter(pk=clerk.pk).update(is_staff=False)


def take_permission(clerk):
    clerk.groups.get().permissions.clear()


@pytest.mark.parametrize("what", [take_from_staff, take_permission])
async def test_who_may_see_all_no_more_sees_the_own_jobs(clerk, user, job, make_job, what):
    await in_thread(make_job)(owner=clerk, job_id="own")
    cookie = await cookie_of(clerk)
    async with watching("/ws/jobs/abc/", cookie) as one, watching("/ws/jobs/own/", cookie) as own:
        await in_thread(what)(clerk)
        assert await one.closing() == 4404
        get_publisher().publish_event("own", {"n": 7})
        assert 7 in await own.until(7)


@pytest.mark.parametrize("what", [*LOGIN_IS_GONE, give_away])
async def test_a_stream_of_events_ends(user, job, what):
    request = Request(cookie=await cookie_of(user))
    await request.until(b"event: live")
    await in_thread(what)(user)
    await asyncio.wait([request.task], timeout=PATIENCE)
    assert request.task.done()
    assert b"event: end" not in request.body


async def test_a_stream_that_ended_so_is_refused_to_who_comes_back(user, job):
    cookie = await cookie_of(user)
    request = Request(cookie=cookie)
    await request.until(b"event: live")
    await in_thread(give_away)(user)
    await asyncio.wait([request.task], timeout=PATIENCE)
    again = Request(cookie=cookie)
    await asyncio.wait([again.task], timeout=PATIENCE)
    assert again.sent[0]["status"] == 404


async def test_who_came_by_ticket_is_looked_at_too(user, job):
    ticket = await in_thread(make_ticket)(user, "abc")
    async with watching(f"/ws/jobs/abc/?ticket={ticket}") as socket:
        await in_thread(expire)(user)  # a ticket is of no session
        get_publisher().publish_event("abc", {"n": 7})
        assert 7 in await socket.until(7)
        await in_thread(deactivate)(user)
        assert await socket.closing() == 4401


async def test_the_token_that_let_a_stream_in_is_deleted(user, job):
    """Any row will do that DRF has as `request.auth`; here a session's."""
    await cookie_of(user)
    token = await Session.objects.afirst()
    revoked = asyncio.get_running_loop().create_future()
    with Connection(user, token).guarded(revoked.set_result):
        await asyncio.sleep(0.3)
        assert not revoked.done()
        await token.adelete()
        assert await asyncio.wait_for(revoked, PATIENCE) is None


@pytest.mark.parametrize("engine", ["cache", "cached_db", "file", "signed_cookies"])
async def test_wherever_sessions_are_kept(user, job, engine, settings, tmp_path):
    settings.SESSION_FILE_PATH = str(tmp_path)
    with override_settings(SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}"):
        cookie = await cookie_of(user)
        async with watching("/ws/jobs/abc/", cookie) as socket:
            await asyncio.sleep(0.3)
            get_publisher().publish_event("abc", {"n": 7})
            assert 7 in await socket.until(7)
            # Nobody but the browser knows of a session in its cookies.
            await (in_thread(deactivate)(user) if engine == "signed_cookies" else log_out(cookie))
            assert await socket.closing() == 4401


async def test_what_the_projects_rule_says_is_asked_every_minute(user, job, settings, monkeypatch):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RECHECK_JOBS": 0.3}
    async with watching("/ws/jobs/abc/", await cookie_of(user)) as socket:
        monkeypatch.setattr(session_guard, "visible_jobs", lambda user: Job.objects.none())
        assert await socket.closing() == 4404


async def test_a_database_that_is_away_closes_nobody(user, job, monkeypatch, caplog):
    async with watching("/ws/jobs/abc/", await cookie_of(user)) as socket:
        with monkeypatch.context() as broken:
            broken.setattr(session_guard, "_users", lambda keys: 1 / 0)
            await gone(lambda: "access_check_failed" not in caplog.messages)
        get_publisher().publish_event("abc", {"n": 7})
        assert 7 in await socket.until(7)
        await in_thread(deactivate)(user)
        assert await socket.closing() == 4401


def test_many_connections_cost_a_few_queries(user, make_job, django_assert_num_queries, client):
    """Three of all: users, sessions, jobs; and one of each user whose jobs are looked up."""
    jobs = [make_job(owner=user).job_id for _ in range(20)]
    client.force_login(user)
    connections = []
    for job_id in itertools.islice(itertools.cycle(jobs), 400):
        connections.append(Connection(user, client.session))
        connections[-1].job_ids = frozenset({job_id})
    guard = SessionGuard(lambda: None)
    with django_assert_num_queries(4):
        assert guard.check(connections) == []
    with django_assert_num_queries(3):
        assert guard.check(connections) == []


async def test_nobody_is_looked_after_when_all_are_gone(user, job):
    before = asyncio.all_tasks()
    async with watching("/ws/jobs/abc/", await cookie_of(user)):
        pass
    await gone(lambda: asyncio.all_tasks() - before)
