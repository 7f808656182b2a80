"""Connections to the database: a pool of psycopg, persistent connections, ATOMIC_REQUESTS."""

import asyncio
import json
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import pytest
import websockets

from tests.integration.jobs.alerts.receivers import Receiver
from tests.support.postgres import PostgresServer
from tests.support.project import project, run_script
from tests.support.site import TABLES_SCRIPT, Site

pytestmark = pytest.mark.extended

# Fewer connections than `process_events` has loops, or the server has subscribers.
POOL = """
options = DATABASES["default"].setdefault("OPTIONS", {})
options["pool"] = {"min_size": 1, "max_size": 1, "timeout": 5}
"""
PERSISTENT = """
DATABASES["default"] |= {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True, "ATOMIC_REQUESTS": True}
"""
SUBSCRIBERS = 12


def wait_for_archive(site: Site, count: int) -> None:
    """Wait until the log's archive has `count` events in all jobs."""
    deadline = monotonic() + 30
    with site.client() as client:
        while len(client.get("/api/events/").json()["results"]) < count:
            assert monotonic() < deadline, site.log_of("processor")[-3000:]
            sleep(0.1)


async def subscribe(site: Site, job_id: str, cookie: dict[str, str]) -> list[str]:
    async with websockets.connect(
        f"{site.ws_url}/ws/jobs/{job_id}/", additional_headers=cookie, origin=site.url
    ) as socket:
        return [json.loads(text)["type"] async for text in socket]


async def run_subscribers(site: Site, job_id: str) -> None:
    """Follow a job by many sockets, and change it meanwhile."""
    cookie = await asyncio.to_thread(site.cookie, "anna")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(subscribe(site, job_id, cookie)) for _ in range(SUBSCRIBERS)]
        await asyncio.sleep(10)  # longer than RECHECK_LOGINS
        async with httpx.AsyncClient(base_url=site.url, auth=("anna", "anna")) as client:
            for _ in range(SUBSCRIBERS):
                (await client.get("/api/jobs/")).raise_for_status()
            (await client.post(f"/api/jobs/{job_id}/cancel/")).raise_for_status()
    for task in tasks:
        assert task.result().count("event") == 2
        assert task.result()[-1] == "end"


@pytest.mark.parametrize("settings", [POOL, PERSISTENT], ids=["pool", "persistent"])
def test_processor_and_server_share_few_connections(
    folder: Path, postgres: PostgresServer, settings: str
) -> None:
    with project(folder, settings, DATABASE_URL=postgres.url) as site:
        site.manage("shell", "--verbosity", "0", "-c", TABLES_SCRIPT)
        site.start_processor()
        site.start_web()
        with site.client("anna") as client:
            created = client.post("/api/jobs/", json={"task_type": "by_hand"})
            assert created.status_code == 201, created.text
            job_id = created.json()["job_id"]
            wait_for_archive(site, 1)
            asyncio.run(run_subscribers(site, job_id))
            wait_for_archive(site, 2)
            assert client.post("/api/jobs/", json={"task_type": ""}).status_code == 400
        assert "loop_failed" not in site.log_of("processor")
        assert "failed" not in site.log_of("web")


DELIVERY = """
from django.core.management import call_command
from events.database import close_connections, database_now
from jobs.management.commands.send_test_alert import sample_message
from jobs.models import AlertDelivery

message = sample_message()
message.save()
for channel in ("hook", "signal"):
    AlertDelivery.objects.create(message=message, channel=channel, next_at=database_now())
close_connections()
call_command("process_events", once=True)
assert not AlertDelivery.objects.exclude(attempts=1, error="").exists()
"""


def test_deliveries_share_one_connection(folder: Path, postgres: PostgresServer) -> None:
    receiver = Receiver(respond=respond_late)
    channels = f'JOB_EVENTS["ALERT_CHANNELS"] = {{"hook": {receiver.channel()}}}'
    settings = f"{POOL}{channels}"
    with receiver.running(), project(folder, settings, DATABASE_URL=postgres.url) as site:
        run_script(site, TABLES_SCRIPT)
        run_script(site, DELIVERY)
    assert len(receiver.requests) == 1


def respond_late(connection: Any) -> None:
    """Respond later than a thread waits for a connection of the pool."""
    sleep(6)
    connection.write(b"HTTP/1.1 204 No Content\r\n\r\n")
