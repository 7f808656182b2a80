"""Tickets: scope, first use, reconnects, and the end of the login that obtained them."""

import json
import logging
from datetime import timedelta
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.core import signing
from django.db.models import F
from django.test import AsyncClient
from rest_framework.authentication import BasicAuthentication

from events.publisher import get_publisher
from jobs import services
from jobs.access import tickets
from jobs.access.logins import Login, existing_logins, is_logged_in
from jobs.api.base import JobsAPIView
from jobs.exceptions import InvalidTicket
from jobs.models import Job, Ticket
from tests.integration.jobs.asgi import (
    Request,
    open_socket,
    open_stream,
    socket_of,
    ticket_of,
    wait_until_gone,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

SSE, WS = "/api/jobs/abc/events/stream/", "/ws/jobs/abc/"
in_thread = sync_to_async


@pytest.fixture
def job(user, make_job):
    return make_job("cancelled", owner=user, job_id="abc")


async def by_sse(ticket):
    """Return the status and the body of an SSE request without a session."""
    response = await AsyncClient().get(SSE, {"ticket": ticket})
    if not response.streaming:
        return response.status_code, response.content.decode()
    return response.status_code, b"".join([part async for part in response]).decode()


async def by_socket(ticket):
    """Return the close code of the handshake, or None, and the messages."""
    socket = await socket_of(None, f"{WS}?ticket={ticket}")
    refusal = await socket.connect()
    return refusal, [] if refusal else await socket.until("end")


def age(**duration):
    """Make all tickets older."""
    Ticket.objects.update(created_at=F("created_at") - timedelta(**duration))


def test_owner_receives_a_ticket(client, user, job):
    assert client.post("/api/jobs/abc/ticket/").status_code in (401, 403)
    client.force_login(user)
    response = client.post("/api/jobs/abc/ticket/")
    assert response.status_code == 201
    assert response.json().keys() == {"ticket", "expires_in"}
    assert response.json()["expires_in"] == 60
    assert "no-store" in response["Cache-Control"]
    assert client.session.session_key not in response.json()["ticket"]
    assert client.get("/api/jobs/abc/ticket/").status_code == 405
    assert client.post("/api/jobs/none/ticket/").status_code == 404


def test_no_ticket_for_the_job_of_another_user(client, other_user, job):
    client.force_login(other_user)
    assert client.post("/api/jobs/abc/ticket/").status_code == 404
    assert not Ticket.objects.exists()


async def test_ticket_authorizes_sse_and_sockets(user, job):
    ticket = await in_thread(ticket_of)(user)
    for _ in range(2):  # an EventSource reconnects with the same ticket
        status, text = await by_sse(ticket)
        assert status == 200
        events = [
            json.loads(line[6:]) for line in text.split("\n") if line.startswith('data: {"id"')
        ]
        assert [event["event_type"] for event in events] == ["job_created", "job_cancelled"]
    refusal, received = await by_socket(ticket)
    assert refusal is None
    assert received[-1] == "end"


async def test_ticket_takes_precedence_over_a_session(user, other_user, job):
    ticket = await in_thread(ticket_of)(user)
    client = AsyncClient()
    await client.aforce_login(other_user)
    assert (await client.get(SSE)).status_code == 404
    assert (await client.get(SSE, {"ticket": ticket})).status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "nonsense",
        "a:b:c",
        "\x00",
        "é" * 100,
        "other job",
        "changed",
        "old",
        "other salt",
        "other row",
    ],
)
async def test_invalid_tickets(user, job, make_job, wrong):
    await in_thread(make_job)(owner=user, job_id="abd")
    other = await in_thread(ticket_of)(user, "abd")
    ticket = await in_thread(ticket_of)(user)
    if wrong == "old":
        await in_thread(age)(seconds=61)
    invalid = {
        "old": ticket,
        "other job": other,
        "changed": ticket[:-1] + ("A" if ticket[-1] != "A" else "B"),
        "other salt": signing.Signer(salt="another").sign((await Ticket.objects.afirst()).pk.hex),
        "other row": signing.Signer(salt=tickets._SALT).sign(uuid4().hex),
    }.get(wrong, wrong)
    status, text = await by_sse(invalid)
    assert status == 403
    assert "Request a new one" in text
    if invalid.isascii() and invalid.isprintable():
        assert (await by_socket(invalid))[0] == 4403


async def test_ticket_does_not_bypass_visible_jobs(user, other_user, job):
    ticket = await in_thread(ticket_of)(user)
    await Job.objects.filter(pk=job.pk).aupdate(owner=other_user)
    assert (await by_sse(ticket))[0] == 404
    assert (await by_socket(ticket))[0] == 4404
    user.is_active = False
    await user.asave()
    assert (await by_sse(ticket))[0] == 403
    await user.adelete()
    assert (await by_sse(ticket))[0] == 403


async def test_user_model_without_a_column_for_active_users(user, job, monkeypatch):
    """In AbstractBaseUser, `is_active` is a constant."""
    users = type(user)._default_manager
    ticket = await in_thread(ticket_of)(user)
    monkeypatch.setattr(type(users), "get", lambda self, pk: users.filter(pk=pk)[0], raising=False)
    assert (await by_sse(ticket))[0] == 200


def test_challenge_of_a_request_without_a_ticket(client, job, monkeypatch):
    monkeypatch.setattr(JobsAPIView, "authentication_classes", [BasicAuthentication])
    answer = client.get(SSE)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Basic")


def test_ticket_authorizes_nothing_else(client, user, job):
    ticket = ticket_of(user)
    for path in ("jobs/abc/", "jobs/abc/events/", "jobs/abc/stream/", "jobs/"):
        assert client.get(f"/api/{path}", {"ticket": ticket}).status_code in (401, 403), path
    for path in ("cancel", "ticket"):
        answer = client.post(f"/api/jobs/abc/{path}/?ticket={ticket}")
        assert answer.status_code in (401, 403)
    assert services.Job.objects.get(job_id="abc").status == "cancelled"


# Reconnects


async def test_used_ticket_remains_valid(user, job):
    """The URL of an EventSource cannot change: it reconnects hours later with the same ticket."""
    ticket = await in_thread(ticket_of)(user)
    await in_thread(age)(seconds=50)
    assert (await by_sse(ticket))[0] == 200
    await in_thread(age)(days=2)
    assert (await by_sse(ticket))[0] == 200
    assert await by_socket(ticket) == (None, [0, 0, "live", "end"])


async def test_rejected_request_is_no_first_use(user, job, make_job):
    await in_thread(make_job)(owner=user, job_id="abd")
    ticket = await in_thread(ticket_of)(user)
    path = "/api/jobs/abd/events/stream/"
    assert (await AsyncClient().get(path, {"ticket": ticket})).status_code == 403
    await in_thread(age)(seconds=61)
    assert (await by_sse(ticket))[0] == 403


@pytest.fixture
def open_job(user, make_job, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RECHECK_LOGINS": 0.1, "KEEP_ALIVE": 0.1}
    return make_job(owner=user, job_id="abc")


async def by_stream(ticket):
    return await open_stream(f"{SSE}?ticket={ticket}")


async def by_job_socket(ticket):
    return await open_socket(f"{WS}?ticket={ticket}")


async def by_socket_of_several(ticket):
    message = {"action": "subscribe", "job_id": "abc", "ticket": ticket}
    socket = await open_socket("/ws/events/", message=message)
    await socket.send(text=json.dumps(message))  # the same connection may use a ticket again
    await socket.until("live")
    return socket


TRANSPORTS = [by_stream, by_job_socket, by_socket_of_several]


@pytest.mark.parametrize("connect", TRANSPORTS)
@pytest.mark.parametrize("connect_again", TRANSPORTS)
async def test_newer_connection_closes_the_older(user, open_job, connect, connect_again):
    ticket, other = [await in_thread(ticket_of)(user) for _ in range(2)]
    unaffected, older = await connect(other), await connect(ticket)
    newer = await connect_again(ticket)
    if connect is by_stream:
        await wait_until_gone(lambda: not older.task.done())
    else:
        assert await older.close_code() == 4401
    get_publisher().publish_event("abc", {"n": 7})
    for connection in (newer, unaffected):
        is_stream = isinstance(connection, Request)
        await connection.until(b'"n":7' if is_stream else 7)
        await connection.disconnect()


# Rows


def test_number_of_tickets_is_bounded(user, other_user, staff, job, monkeypatch):
    """A new ticket replaces the oldest of this user and job, and those that were not used."""
    monkeypatch.setattr(tickets, "MAX_TICKETS", 3)
    other = ticket_of(other_user)
    issued = [ticket_of(user) for _ in range(4)]
    for number, ticket in enumerate(issued):
        if number == 0:
            with pytest.raises(InvalidTicket):
                tickets.use_ticket(ticket, "abc", uuid4())
        else:
            assert tickets.use_ticket(ticket, "abc", uuid4())[0] == user
    ticket_of(staff)
    age(seconds=61)
    ticket_of(staff)
    assert Ticket.objects.filter(user=staff).count() == 1
    assert Ticket.objects.filter(user=user).count() == 3
    assert Ticket.objects.filter(user=other_user).count() == 1
    with pytest.raises(InvalidTicket):
        tickets.use_ticket(other, "abc", uuid4())


def test_tickets_are_deleted_with_their_job_and_user(user, other_user, make_job, job):
    make_job(owner=user, job_id="abd")
    for ticket in [("abc", user), ("abd", user), ("abc", other_user)]:
        ticket_of(ticket[1], ticket[0])
    job.delete()
    assert {each.job.job_id for each in Ticket.objects.all()} == {"abd"}
    Job.objects.update(owner=None)
    user.delete()
    assert not Ticket.objects.exists()


def test_login_whose_model_was_removed_has_ended(user):
    logins = frozenset({Login("removed.Token", "1")})
    assert not is_logged_in(user, logins, existing_logins(logins))


# Logs


async def test_tickets_are_not_logged(user, job, caplog):
    caplog.set_level(logging.DEBUG)
    ticket = await in_thread(ticket_of)(user)
    issuer = AsyncClient()
    await issuer.aforce_login(user)
    issued = (await issuer.post("/api/jobs/abc/ticket/")).json()["ticket"]
    await by_sse(ticket)
    await by_socket(ticket)
    await by_socket(ticket[:-1])
    await AsyncClient().get("/api/jobs/none/events/stream/", {"ticket": ticket})
    await AsyncClient().get("/api/jobs/abc/", {"ticket": ticket})
    await AsyncClient().get("/api/jobs/abc/events/poll/", {"ticket": ticket, "wait": "x"})
    assert caplog.records
    assert ticket[:-1] not in caplog.text
    assert issued not in caplog.text
