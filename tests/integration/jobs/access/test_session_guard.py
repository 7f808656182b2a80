"""Session guard: which changes revoke the access of live connections."""

import asyncio
import itertools
import json
from base64 import b64encode
from contextlib import asynccontextmanager

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.sessions.models import Session
from django.test import AsyncClient, override_settings
from django.utils import timezone
from rest_framework.authentication import (
    BaseAuthentication,
    BasicAuthentication,
    SessionAuthentication,
)

from events.publisher import get_publisher
from jobs.access import session_guard
from jobs.access.logins import logins_of
from jobs.access.session_guard import Connection, SessionGuard
from jobs.api.base import JobsAPIView
from jobs.models import Job
from tests.integration.jobs.asgi import (
    STREAM,
    TIMEOUT_SECONDS,
    Request,
    Socket,
    cookie_of,
    log_out,
    open_socket,
    open_stream,
    ticket_of,
    wait_until_gone,
)

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
    socket = await open_socket(path, cookie)
    yield socket
    await socket.disconnect()


# What may end: a session, the password of Basic authentication, or the row of a token.


class TokenAuthentication(BaseAuthentication):
    """A token is any model instance in `request.auth`; here a row of sessions."""

    def authenticate(self, request):
        token = Session.objects.filter(pk=request.headers.get("X-Token")).first()
        return (get_user_model().objects.get(), token) if token else None


async def log_in_with_session(user):
    return {"cookie": await cookie_of(user)}


async def log_in_with_password(user):
    return {"authorization": "Basic " + b64encode(b"anna:anna").decode()}


async def log_in_with_token(user):
    await Session.objects.acreate(pk="token", expire_date=timezone.now())
    return {"x-token": "token"}


LOGINS = {
    "session": log_in_with_session,
    "password": log_in_with_password,
    "token": log_in_with_token,
}


async def end_session(user, session):
    await log_out(session["cookie"])


async def expire_session(user, session):
    await Session.objects.aupdate(expire_date=timezone.now())


async def change_password(user, session):
    user.set_password("other")
    await user.asave()


async def delete_token(user, session):
    await Session.objects.filter(pk="token").adelete()


async def deactivate(user, session=None):
    await get_user_model().objects.filter(pk=user.pk).aupdate(is_active=False)


async def delete_user(user, session):
    await Job.objects.aupdate(owner=None)
    await user.adelete()


async def remove_owner(user, session=None):
    await Job.objects.aupdate(owner=None)


ENDED_BY = {
    end_session: {"session"},
    expire_session: {"session"},
    change_password: {"session", "password"},
    delete_token: {"token"},
    deactivate: {"session", "password", "token"},
    delete_user: {"session", "password", "token"},
    remove_owner: {"session", "password", "token"},
}


# The socket of several jobs reports a job that is no longer visible. A deletion may fall between
# the query of users and that of their jobs.
HIDDEN = {4404, "error", None}
EXPECTED = {remove_owner: HIDDEN, delete_user: HIDDEN | {4401}}


async def new_ticket(headers):
    client = AsyncClient()
    client.cookies.load(headers.get("cookie", ""))
    others = {name: value for name, value in headers.items() if name != "cookie"}
    response = await client.post("/api/jobs/abc/ticket/", headers=others)
    return response.json()["ticket"]


async def open_with_login(headers):
    """Open a connection of each transport with a login; sockets accept sessions only."""
    yield await open_stream(**headers)
    yield await open_stream("/api/events/stream/?job=abc", **headers)
    if "cookie" in headers:
        subscribe = {"action": "subscribe", "job_id": "abc"}
        yield await open_socket(cookie=headers["cookie"])
        yield await open_socket("/ws/events/", headers["cookie"], subscribe)


async def open_with_tickets(headers):
    """Open a connection of each transport with a ticket that was obtained with a login."""
    yield await open_stream(f"{STREAM}?ticket={await new_ticket(headers)}")
    yield await open_stream(f"/api/events/stream/?job=abc&ticket={await new_ticket(headers)}")
    yield await open_socket(f"/ws/jobs/abc/?ticket={await new_ticket(headers)}")
    subscribe = {"action": "subscribe", "job_id": "abc", "ticket": await new_ticket(headers)}
    yield await open_socket("/ws/events/", message=subscribe)


async def end_of(connection):
    """Return the close code, the type of an error, or None for the end of a stream."""
    if isinstance(connection, Socket):
        message = await connection._output()
        return message.get("code") or json.loads(message["text"])["type"]
    await asyncio.wait([connection.task], timeout=TIMEOUT_SECONDS)
    assert connection.task.done()
    assert b"event: end" not in connection.body
    return None


@pytest.mark.parametrize("open_all", [open_with_login, open_with_tickets])
@pytest.mark.parametrize("revoke", ENDED_BY)
async def test_revocation_closes_the_connections_of_a_login(
    user, job, monkeypatch, open_all, revoke
):
    authentication = [TokenAuthentication, SessionAuthentication, BasicAuthentication]
    monkeypatch.setattr(JobsAPIView, "authentication_classes", authentication)
    logins = {kind: await log_in(user) for kind, log_in in LOGINS.items()}
    opened = {kind: [each async for each in open_all(logins[kind])] for kind in LOGINS}
    await revoke(user, logins["session"])
    for kind in ENDED_BY[revoke]:
        for connection in opened.pop(kind):
            assert await end_of(connection) in EXPECTED.get(revoke, {4401, None})
            await connection.disconnect()
    get_publisher().publish_event("abc", {"n": 7})
    for connection in itertools.chain(*opened.values()):
        await connection.until(7 if isinstance(connection, Socket) else b'"n":7')
        await connection.disconnect()


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
        await remove_owner(user)
        assert await one.close_code() == 4404
        get_publisher().publish_event("abc", {"n": 7})
        assert 7 in await other.until(7)


def remove_from_staff(clerk):
    get_user_model().objects.filter(pk=clerk.pk).update(is_staff=False)


def remove_permission(clerk):
    clerk.groups.get().permissions.clear()


@pytest.mark.parametrize("has_ticket", [False, True])
@pytest.mark.parametrize("revoke", [remove_from_staff, remove_permission])
async def test_revoked_staff_rights_leave_the_own_jobs(
    clerk, user, job, make_job, revoke, has_ticket
):
    await in_thread(make_job)(owner=clerk, job_id="own")
    cookie, queries = await cookie_of(clerk), ["", ""]
    if has_ticket:
        tickets = [await in_thread(ticket_of)(clerk, job_id) for job_id in ("abc", "own")]
        cookie, queries = "", [f"?ticket={ticket}" for ticket in tickets]
    async with (
        watching(f"/ws/jobs/abc/{queries[0]}", cookie) as one,
        watching(f"/ws/jobs/own/{queries[1]}", cookie) as own,
    ):
        await in_thread(revoke)(clerk)
        assert await one.close_code() == 4404
        get_publisher().publish_event("own", {"n": 7})
        assert 7 in await own.until(7)


async def test_reconnect_after_a_revocation_is_rejected(user, job):
    cookie = await cookie_of(user)
    request = Request(cookie=cookie)
    await request.until(b"event: live")
    await remove_owner(user)
    await asyncio.wait([request.task], timeout=TIMEOUT_SECONDS)
    again = Request(cookie=cookie)
    await asyncio.wait([again.task], timeout=TIMEOUT_SECONDS)
    assert again.sent[0]["status"] == 404


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
            await (deactivate(user) if engine == "signed_cookies" else log_out(cookie))
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
        await deactivate(user)
        assert await socket.close_code() == 4401


def test_number_of_queries_is_constant(user, make_job, django_assert_num_queries, client):
    """Users, sessions and owners; and one per user whose jobs are evaluated."""
    jobs = [make_job(owner=user).job_id for _ in range(20)]
    client.force_login(user)
    connections = []
    for job_id in itertools.islice(itertools.cycle(jobs), 400):
        connections.append(Connection(user, logins_of(user, client.session)))
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


def test_invisible_jobs_are_reported_until_the_connection_has_closed(user, job):
    connection = Connection(user)
    connection.job_ids = frozenset({"abc"})
    guard = SessionGuard(lambda: None)
    assert guard.check([connection]) == []
    Job.objects.update(owner=None)
    assert guard.check([connection]) == [(connection, "abc")]
    assert guard.check([connection]) == [(connection, "abc")]
