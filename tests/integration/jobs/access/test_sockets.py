"""The Origin and the Authorization header of sockets."""

import base64
import json

import pytest
from asgiref.sync import sync_to_async

from jobs.access.logins import logins_of
from jobs.access.tickets import make_ticket
from jobs.models import Job
from tests.integration.jobs.asgi import ORIGIN, Socket, cookie_of

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/ws/jobs/abc/"


@pytest.fixture
def job(user, make_job):
    return make_job(owner=user, job_id="abc")


def basic(credentials):
    return [(b"authorization", b"Basic " + base64.b64encode(credentials.encode()))]


def new_ticket(user):
    return make_ticket(Job.objects.get(job_id="abc"), user, logins_of(user))


async def assert_live(socket):
    assert await socket.connect() is None
    assert (await socket.until("live"))[-1] == "live"
    await socket.disconnect()


async def test_program_without_an_origin_uses_a_ticket(user, job):
    ticket = await sync_to_async(new_ticket)(user)
    await assert_live(Socket(f"{PATH}?ticket={ticket}", []))
    invalid = Socket(f"{PATH}?ticket=x", [])
    assert await invalid.connect() == 4403


async def test_ticket_in_a_message_without_an_origin(user, job):
    ticket = await sync_to_async(new_ticket)(user)
    socket = Socket("/ws/events/", [])
    assert await socket.connect() is None
    message = {"action": "subscribe", "job_id": "abc", "ticket": ticket}
    await socket.send(text=json.dumps(message))
    assert (await socket.until("live"))[-1] == "live"
    await socket.disconnect()


async def test_cookies_without_an_origin_do_not_count(user, other_user, job):
    cookie = [(b"cookie", (await cookie_of(user)).encode())]
    assert await Socket(PATH, cookie).connect() is not None
    assert await Socket(f"{PATH}?ticket=", cookie).connect() is not None
    assert await Socket(PATH, [*cookie, *basic("bert:bert")]).connect() == 4404


@pytest.mark.parametrize("origin", [b"http://evil.example", b"null"])
async def test_another_origin_is_refused_without_a_ticket(user, job, origin):
    """The browser adds cookies and the password of HTTP Basic authentication by itself."""
    cookie = [(b"cookie", (await cookie_of(user)).encode())]
    for headers in (cookie, basic("anna:anna")):
        for path in (PATH, f"{PATH}?x_ticket=1", "/ws/events/"):
            assert await Socket(path, [(b"origin", origin), *headers]).connect() is not None


@pytest.mark.parametrize("origin", [b"https://app.example.org", b"null", ORIGIN])
async def test_ticket_from_any_origin_counts_alone(user, other_user, job, origin):
    ticket = await sync_to_async(new_ticket)(user)
    cookie = (b"cookie", (await cookie_of(other_user)).encode())
    headers = [(b"origin", origin), cookie, *basic("bert:bert")]
    await assert_live(Socket(f"{PATH}?ticket={ticket}", headers))
    valid = [(b"origin", origin), (b"cookie", (await cookie_of(user)).encode())]
    for invalid in ("x", ""):
        assert await Socket(f"{PATH}?ticket={invalid}", valid).connect() == 4403


@pytest.mark.parametrize("origin", [[], [(b"origin", ORIGIN)]])
async def test_authorization_header(user, job, origin):
    await assert_live(Socket(PATH, origin + basic("anna:anna")))
    socket = Socket("/ws/events/", origin + basic("anna:anna"))
    assert await socket.connect() is None
    await socket.send(text='{"action": "subscribe_jobs"}')
    assert (await socket.receive())["type"] == "jobs_live"
    await socket.disconnect()


async def test_session_and_ticket_precede_the_header(user, job):
    """A proxy may require Basic authentication of its own, which the browser sends to sockets."""
    proxy = [(b"origin", ORIGIN), *basic("proxy:proxy")]
    await assert_live(Socket(PATH, [*proxy, (b"cookie", (await cookie_of(user)).encode())]))
    ticket = await sync_to_async(new_ticket)(user)
    await assert_live(Socket(f"{PATH}?ticket={ticket}", proxy))


async def test_invalid_authorization_header(user, other_user, job):
    assert await Socket(PATH, basic("anna:wrong")).connect() == 4401
    assert await Socket(PATH, basic("bert:bert")).connect() == 4404
    assert await Socket(PATH, [(b"authorization", b"Unknown x")]).connect() == 4404


async def test_socket_ends_with_the_login_of_its_header(user, job):
    socket = Socket(PATH, basic("anna:anna"))
    assert await socket.connect() is None
    await socket.until("live")
    user.set_password("another")
    await sync_to_async(user.save)()
    assert await socket.close_code() == 4401
