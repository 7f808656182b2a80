"""Session guard: which changes revoke the access of live connections."""

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
from tests.integration.jobs.asgi import TIMEOUT_SECONDS, Request, Socket, cookie_of, wait_until_gone

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

in_thread = sync_to_async


@pytest.fixture(autouse=True)
def _short_interval(settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RECHECK_LOGINS": 0.1, "KEEP_ALIVE": 0.1}


@pytest.fixture
def job(user, make_job):
    return make_job(owner=user, job_id="abc")


@pytest.fixture
def clerk(django_user_model):
    """A member of the staff who may view all jobs, through a group."""
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
    await socket.disconnect()


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


def remove_owner(user):
    Job.objects.update(owner=None)


INVALIDATE_LOGIN = [deactivate, delete, new_password, expire]


@pytest.mark.parametrize("revoke", INVALIDATE_LOGIN)
async def test_invalid_login_closes_the_socket(user, job, revoke):
    async with watching("/ws/jobs/abc/", await cookie_of(user)) as socket:
        await in_thread(revoke)(user)
        # A deletion may fall between the query of users and that of their jobs.
        assert await socket.close_code() in ({4401, 4404} if revoke is delete else {4401})


async def test_logout_closes_the_sockets_of_its_session_only(user, job):
    first, second = await cookie_of(user), await cookie_of(user)
    async with watching("/ws/jobs/abc/", first) as one, watching("/ws/jobs/abc/", second) as other:
        await log_out(first)
        assert await one.close_code() == 4401
        get_publisher().publish_event("abc", {"n": 7})
        assert 7 in await other.until(7)


async def test_change_of_the_owner_closes_the_socket(user, staff, job):
    own, of_staff = await cookie_of(user), await cookie_of(staff)
    async with watching("/ws/jobs/abc/", own) as one, watching("/ws/jobs/abc/", of_staff) as other:
        await in_thread(remove_owner)(user)
        assert await one.close_code() == 4404
        get_publisher().publish_event("abc", {"n": 7})
        assert 7 in await other.until(7)


def remove_from_staff(clerk):
    get_user_model().objects.filter(pk=clerk.pk).update(is_staff=False)


def remove_permission(clerk):
    clerk.groups.get().permissions.clear()


@pytest.mark.parametrize("revoke", [remove_from_staff, remove_permission])
async def test_revoked_staff_rights_leave_the_own_jobs(clerk, user, job, make_job, revoke):
    await in_thread(make_job)(owner=clerk, job_id="own")
    cookie = await cookie_of(clerk)
    async with watching("/ws/jobs/abc/", cookie) as one, watching("/ws/jobs/own/", cookie) as own:
        await in_thread(revoke)(clerk)
        assert await one.close_code() == 4404
        get_publisher().publish_event("own", {"n": 7})
        assert 7 in await own.until(7)


@pytest.mark.parametrize("revoke", [*INVALIDATE_LOGIN, remove_owner])
async def test_revocation_ends_an_sse_stream(user, job, revoke):
    request = Request(cookie=await cookie_of(user))
    await request.until(b"event: live")
    await in_thread(revoke)(user)
    await asyncio.wait([request.task], timeout=TIMEOUT_SECONDS)
    assert request.task.done()
    assert b"event: end" not in request.body


async def test_reconnect_after_a_revocation_is_rejected(user, job):
    cookie = await cookie_of(user)
    request = Request(cookie=cookie)
    await request.until(b"event: live")
    await in_thread(remove_owner)(user)
    await asyncio.wait([request.task], timeout=TIMEOUT_SECONDS)
    again = Request(cookie=cookie)
    await asyncio.wait([again.task], timeout=TIMEOUT_SECONDS)
    assert again.sent[0]["status"] == 404


async def test_connections_with_a_ticket_are_checked(user, job):
    ticket = await in_thread(make_ticket)(user, "abc")
    async with watching(f"/ws/jobs/abc/?ticket={ticket}") as socket:
        await in_thread(expire)(user)  # a ticket is independent of sessions
        get_publisher().publish_event("abc", {"n": 7})
        assert 7 in await socket.until(7)
        await in_thread(deactivate)(user)
        assert await socket.close_code() == 4401


async def test_deleted_token(user, job):
    """A token is any model instance in `request.auth`; here the row of a session."""
    await cookie_of(user)
    token = await Session.objects.afirst()
    revoked = asyncio.get_running_loop().create_future()
    with Connection(user, token).guarded(revoked.set_result):
        await asyncio.sleep(0.3)
        assert not revoked.done()
        await token.adelete()
        assert await asyncio.wait_for(revoked, TIMEOUT_SECONDS) is None


@pytest.mark.parametrize("engine", ["cache", "cached_db", "file", "signed_cookies"])
async def test_session_engines(user, job, engine, settings, tmp_path):
    settings.SESSION_FILE_PATH = str(tmp_path)
    with override_settings(SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}"):
        cookie = await cookie_of(user)
        async with watching("/ws/jobs/abc/", cookie) as socket:
            await asyncio.sleep(0.3)
            get_publisher().publish_event("abc", {"n": 7})
            assert 7 in await socket.until(7)
            # A session in a cookie cannot be revoked on the server.
            await (in_thread(deactivate)(user) if engine == "signed_cookies" else log_out(cookie))
            assert await socket.close_code() == 4401


async def test_visible_jobs_is_evaluated_every_recheck_jobs_seconds(
    user, job, settings, monkeypatch
):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RECHECK_JOBS": 0.3}
    async with watching("/ws/jobs/abc/", await cookie_of(user)) as socket:
        monkeypatch.setattr(session_guard, "visible_jobs", lambda user: Job.objects.none())
        assert await socket.close_code() == 4404


async def test_database_outage_closes_no_connection(user, job, monkeypatch, caplog):
    async with watching("/ws/jobs/abc/", await cookie_of(user)) as socket:
        with monkeypatch.context() as broken:
            broken.setattr(session_guard, "_users", lambda keys: 1 / 0)
            await wait_until_gone(lambda: "access_check_failed" not in caplog.messages)
        get_publisher().publish_event("abc", {"n": 7})
        assert 7 in await socket.until(7)
        await in_thread(deactivate)(user)
        assert await socket.close_code() == 4401


def test_number_of_queries_is_constant(user, make_job, django_assert_num_queries, client):
    """Users, sessions and owners; and one per user whose jobs are evaluated."""
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


async def test_guard_ends_with_its_last_connection(user, job):
    before = asyncio.all_tasks()
    async with watching("/ws/jobs/abc/", await cookie_of(user)):
        pass
    await wait_until_gone(lambda: asyncio.all_tasks() - before)
