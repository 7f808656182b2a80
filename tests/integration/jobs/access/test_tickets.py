"""Tickets: scope and expiry."""

import json

import pytest
from asgiref.sync import sync_to_async
from django.core import signing
from django.test import AsyncClient
from rest_framework.authentication import BasicAuthentication

from jobs import services
from jobs.access.tickets import make_ticket
from jobs.api.base import JobsAPIView
from tests.integration.jobs.asgi import socket_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

SSE, WS = "/api/jobs/abc/events/stream/", "/ws/jobs/abc/"


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


def test_owner_receives_a_ticket(client, user, job):
    assert client.post("/api/jobs/abc/ticket/").status_code in (401, 403)
    client.force_login(user)
    response = client.post("/api/jobs/abc/ticket/")
    assert response.status_code == 201
    assert response.json().keys() == {"ticket", "expires_in"}
    assert response.json()["expires_in"] == 60
    assert "no-store" in response["Cache-Control"]
    assert client.get("/api/jobs/abc/ticket/").status_code == 405
    assert client.post("/api/jobs/none/ticket/").status_code == 404


def test_no_ticket_for_the_job_of_another_user(client, other_user, job):
    client.force_login(other_user)
    assert client.post("/api/jobs/abc/ticket/").status_code == 404


async def test_ticket_authorizes_sse_and_sockets(user, job):
    ticket = await sync_to_async(make_ticket)(user, "abc")
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
    ticket = await sync_to_async(make_ticket)(user, "abc")
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
    ],
)
async def test_invalid_tickets(user, job, wrong, monkeypatch):
    ticket = await sync_to_async(make_ticket)(user, "abc")
    if wrong == "old":
        monkeypatch.setattr("jobs.access.tickets.SECONDS", -1)
    invalid = {
        "old": ticket,
        "other job": await sync_to_async(make_ticket)(user, "abd"),
        "changed": ticket[:-1] + ("A" if ticket[-1] != "A" else "B"),
        "other salt": signing.dumps([str(user.pk), "abc"], salt="another"),
    }.get(wrong, wrong)
    status, text = await by_sse(invalid)
    assert status == 403
    assert "Request a new one" in text
    if invalid.isascii() and invalid.isprintable():
        assert (await by_socket(invalid))[0] == 4403


async def test_ticket_does_not_bypass_visible_jobs(user, other_user, job):
    ticket = await sync_to_async(make_ticket)(user, "abc")
    await sync_to_async(type(job).objects.filter(pk=job.pk).update)(owner=other_user)
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
    monkeypatch.setattr(type(users), "get", lambda self, pk: users.filter(pk=pk)[0], raising=False)
    assert (await by_sse(await sync_to_async(make_ticket)(user, "abc")))[0] == 200


def test_challenge_of_a_request_without_a_ticket(client, job, monkeypatch):
    monkeypatch.setattr(JobsAPIView, "authentication_classes", [BasicAuthentication])
    answer = client.get(SSE)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Basic")


def test_ticket_authorizes_nothing_else(client, user, job):
    ticket = make_ticket(user, "abc")
    for path in ("jobs/abc/", "jobs/abc/events/", "jobs/abc/stream/", "jobs/"):
        assert client.get(f"/api/{path}", {"ticket": ticket}).status_code in (401, 403), path
    assert client.post(f"/api/jobs/abc/cancel/?ticket={ticket}").status_code in (401, 403)
    assert services.Job.objects.get(job_id="abc").status == "cancelled"
