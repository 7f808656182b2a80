"""The site while its database is read-only, locked or unreachable, and afterwards."""

import sqlite3
from contextlib import closing, contextmanager

import pytest
import websockets
from websockets.exceptions import InvalidStatus

from tests.support.nginx import another_web, extend_settings

READ_ONLY = """
DATABASES["default"]["NAME"] = f"file:{DATABASES['default']['NAME']}?mode=ro"
DATABASES["default"]["OPTIONS"] |= {"uri": True}
"""
IMPATIENT = """
DATABASES["default"]["OPTIONS"] |= {"timeout": 0.1}
"""
JOB = {"task_type": "manual"}


@contextmanager
def web(site, directory, line="", **environment):
    """Another web server of the site, with other settings."""
    directory.mkdir(exist_ok=True)
    with another_web(site, **extend_settings(directory, line), **environment) as other:
        yield other


def check_unavailable(response):
    assert response.status_code == 503
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["type"] == "urn:job-events:unavailable"


async def check_handshake(site, job_id, cookie, *, is_accepted):
    url = f"{site.ws_url}/ws/jobs/{job_id}/"
    connection = websockets.connect(url, additional_headers=cookie, origin=site.url)
    if is_accepted:
        async with connection:
            return
    with pytest.raises(InvalidStatus) as caught:
        await connection
    response = caught.value.response
    assert response.status_code == 503
    assert response.headers["Content-Type"] == "application/problem+json"
    assert b"urn:job-events:unavailable" in response.body


@pytest.fixture
def job_id(site):
    with site.client("anna") as client:
        return client.post("/api/jobs/", json=JOB).json()["job_id"]


@pytest.fixture
def cookie(site):
    return site.cookie("anna")


async def test_read_only(site, tmp_path, job_id, cookie):
    before = len(site.log_of())
    with web(site, tmp_path / "ro", READ_ONLY) as other, other.client("anna") as client:
        check_unavailable(client.post("/api/jobs/", json=JOB))
        check_unavailable(client.post(f"/api/jobs/{job_id}/cancel/", json={}))
        assert client.get(f"/api/jobs/{job_id}/").json()["status"] == "pending"
        assert client.get(f"/api/jobs/{job_id}/events/").json()["results"]
        await check_handshake(other, job_id, cookie, is_accepted=True)
        assert "Traceback" not in other.log_of()[before:]


async def test_locked(site, tmp_path, job_id, cookie):
    """Readers do not wait for the lock."""
    path = site.environment["DATABASE_URL"].removeprefix("sqlite:///")
    with web(site, tmp_path / "locked", IMPATIENT) as other, other.client("anna") as client:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            check_unavailable(client.post("/api/jobs/", json=JOB))
            check_unavailable(client.post(f"/api/jobs/{job_id}/cancel/", json={}))
            assert client.get(f"/api/jobs/{job_id}/").json()["status"] == "pending"
            await check_handshake(other, job_id, cookie, is_accepted=True)
            connection.execute("ROLLBACK")
        assert client.post(f"/api/jobs/{job_id}/cancel/", json={}).json()["status"] == "cancelled"


async def test_unreachable(site, tmp_path, job_id, cookie):
    url, before = "postgres://web:hunter2@127.0.0.1:1/none", len(site.log_of())
    with web(site, tmp_path / "down", DATABASE_URL=url) as other, other.client("anna") as client:
        for path in ("jobs/", f"jobs/{job_id}/events/", f"jobs/{job_id}/events/stream/"):
            check_unavailable(client.get(f"/api/{path}"))
        for path in ("jobs/", f"jobs/job/{job_id}/", "admin/job_events/processor/"):
            page = client.get(f"/{path}", headers=cookie)
            assert page.status_code == 503
            assert "<h1>Temporarily unavailable</h1>" in page.text
        check_unavailable(client.post("/api/jobs/", json=JOB))
        await check_handshake(other, job_id, cookie, is_accepted=False)
        for _ in range(100):
            check_unavailable(client.get("/api/jobs/"))
        log = other.log_of()[before:]
    assert "hunter2" not in log
    assert log.count("jobs.api.problem_details request_failed") == 10
    assert "Traceback" not in log
