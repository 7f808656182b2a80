"""The writing job end to end: server, worker and graphs."""

import asyncio
import json
import time
from collections.abc import Iterator

import httpx
import pytest
import websockets

from tests.support.site import ROOT, Site

TERMINAL = {"completed", "failed", "cancelled"}


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    with site.client("anna") as client:
        yield client


def start(client: httpx.Client, **payload) -> str:
    body = {"task_type": "outline_generation", "payload": payload}
    response = client.post("/api/jobs/", json=body)
    assert response.status_code == 201, response.text
    return response.json()["job_id"]


def sse(client: httpx.Client, job_id: str, headers=None, **params):
    """Yield the messages of one SSE connection as (name, id, data)."""
    url = f"/api/jobs/{job_id}/events/stream/"
    with client.stream("GET", url, params=params, headers=headers, timeout=60) as response:
        assert response.status_code == 200, response.read()
        message: dict[str, str] = {}
        for line in response.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                message[name] = value
            elif "data" in message:
                yield message.get("event"), message.get("id"), json.loads(message["data"])
                message = {}


def history(client: httpx.Client, job_id: str) -> list[dict]:
    return client.get(f"/api/jobs/{job_id}/events/").json()["results"]


def finished(client: httpx.Client, job_id: str) -> dict:
    deadline = time.monotonic() + 60
    while (job := client.get(f"/api/jobs/{job_id}/").json())["status"] not in TERMINAL:
        assert time.monotonic() < deadline, job
        time.sleep(0.1)
    return job


def test_live_events_equal_the_history(client):
    readme = (ROOT / "README.md").read_text()
    job_id = start(
        client,
        task_prompt="Explain this project",
        context_files=[{"name": "README.md", "text": readme}],
    )
    messages = list(sse(client, job_id))
    names = [name for name, _, _ in messages]
    assert names[-1] == "end"
    assert names.count("live") == 1
    live = [data for name, _, data in messages if name is None]
    job = finished(client, job_id)
    assert (job["status"], job["progress"]) == ("completed", 100.0)
    assert live == history(client, job_id)

    kinds = [event["event_type"] for event in live]
    assert kinds[0] == "job_created"
    assert kinds.count("task_started") == kinds.count("task_completed") == 2
    assert kinds.count("done") == 2
    agent = {"phase_update", "thought", "tool_call", "tool_result"}
    assert agent | {"task_progress", "document_section"} <= set(kinds)
    assert kinds.index("outline_generated") < kinds.index("document_generated")
    assert "error" not in kinds
    progress = [e["data"]["progress"] for e in live if e["event_type"] == "task_progress"]
    assert progress == sorted(progress)
    assert job["result"]["markdown"].startswith("#")


def test_outline_of_the_readme_has_its_headings(client):
    readme = (ROOT / "README.md").read_text()
    headings = [line.lstrip("# ") for line in readme.splitlines() if line.startswith("## ")]
    files = [{"name": "README.md", "text": readme}]
    job_id = start(client, task_prompt="Outline the README", context_files=files)
    finished(client, job_id)
    (outline,) = [
        event["data"]["outline"]
        for event in history(client, job_id)
        if event["event_type"] == "outline_generated"
    ]
    sections = [section["heading"] for section in outline["sections"]]
    assert [heading for heading in sections if heading != "Overview"] == headings


def test_sse_resumes_from_any_cursor(client):
    job_id = start(client, task_prompt="Tea in Britain: trade, customs and taxes")
    finished(client, job_id)
    ids = [event["id"] for event in history(client, job_id)]
    for position in (0, 1, len(ids) // 2, len(ids) - 1):
        messages = list(sse(client, job_id, after=ids[position]))
        assert [event_id for name, event_id, _ in messages if name is None] == ids[position + 1 :]
    # A browser reconnects to the first address and sends its cursor in the header.
    resumed = sse(client, job_id, headers={"Last-Event-ID": ids[-2]}, after=ids[0])
    assert [event_id for _, event_id, _ in resumed] == [ids[-1], None, None]


def test_reconnecting_subscriber_receives_each_event_once(client):
    job_id = start(client, task_prompt="The history of rail: steam, diesel and electric traction")
    received: list[str] = []
    ended = False
    while not ended:
        for count, (name, event_id, _) in enumerate(
            sse(client, job_id, after=(received or ["0"])[-1])
        ):
            ended = name == "end"
            if event_id:
                received.append(event_id)
            if count > 6:
                break
    assert received == [event["id"] for event in history(client, job_id)]


async def test_websocket_sends_the_events_of_the_history(site, client):
    job_id = start(client, task_prompt="Bridges: arches, beams and cables")
    credentials = await asyncio.to_thread(login, site, "anna")
    uri = f"{site.ws_url}/ws/jobs/{job_id}/?after=0"
    async with websockets.connect(
        uri, origin=site.url, additional_headers={"Cookie": credentials}
    ) as socket:
        messages = [json.loads(text) async for text in socket]
    events = [message["event"] for message in messages if message["type"] == "event"]
    assert [message["type"] for message in messages if message["type"] != "event"] == [
        "live",
        "end",
    ]
    assert events == await asyncio.to_thread(history, client, job_id)


def login(site: Site, user: str) -> str:
    """Log in on the login page; return the session cookie."""
    browser = site.session(user)
    browser.close()
    return f"sessionid={browser.cookies['sessionid']}"


@pytest.mark.parametrize("user", ["bert", None])
async def test_websocket_of_another_users_job_is_404(site, client, user):
    job_id = start(client, task_prompt="Secrets")
    headers = {"Cookie": await asyncio.to_thread(login, site, user)} if user else {}
    for path in (job_id, "nosuchjob"):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(
                f"{site.ws_url}/ws/jobs/{path}/", origin=site.url, additional_headers=headers
            )
        assert refused.value.response.status_code == 404
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(f"{site.ws_url}/ws/jobs/{job_id}/", origin="http://evil.example")
    assert refused.value.response.status_code == 403


def test_cancelled_job_stops(client):
    job_id = start(client, task_prompt="A long one: " + ", ".join(f"topic {n}" for n in range(30)))
    assert client.post(f"/api/jobs/{job_id}/cancel/").json()["status"] == "cancelled"
    messages = list(sse(client, job_id))
    kinds = [data["event_type"] for name, _, data in messages if name is None]
    assert "job_cancelled" in kinds
    assert "task_failed" not in kinds
    assert "error" not in kinds
    assert messages[-1][0] == "end"
    assert finished(client, job_id)["status"] == "cancelled"


def test_failed_job_has_an_error_and_can_be_retried(client):
    response = client.post(
        "/api/jobs/", json={"task_type": "document_generation", "payload": {"outline": {"x": 1}}}
    )
    job_id = response.json()["job_id"]
    job = finished(client, job_id)
    assert job["status"] == "failed"
    assert "title" in job["error"] or "outline" in job["error"]
    assert history(client, job_id)[-1]["event_type"] == "task_failed"
    retried = client.post(f"/api/jobs/{job_id}/retry/").json()
    assert (retried["status"], retried["attempt"], retried["error"]) == ("pending", 2, "")
    finished(client, job_id)
    kinds = [event["event_type"] for event in history(client, job_id)]
    assert kinds.count("task_failed") == 2
    assert "job_retried" in kinds


def test_document_from_a_given_outline(client):
    outline = {"title": "Tea", "sections": [{"id": "1", "heading": "Leaves", "summary": "Green."}]}
    body = {"task_type": "document_generation", "payload": {"outline": outline}}
    job_id = client.post("/api/jobs/", json=body).json()["job_id"]
    job = finished(client, job_id)
    assert job["status"] == "completed", job["error"]
    assert "Leaves" in job["result"]["markdown"]


def test_sse_headers_disable_buffering_in_proxies(client):
    job_id = start(client, task_prompt="Headers")
    url = f"/api/jobs/{job_id}/events/stream/"
    with client.stream("GET", url, headers={"Accept": "text/event-stream"}) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "private, no-store, no-transform"
        assert response.headers["x-accel-buffering"] == "no"
        assert response.headers["content-encoding"] == "identity"
    finished(client, job_id)
