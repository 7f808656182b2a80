"""A project below a path (FORCE_SCRIPT_NAME): links, live delivery and static files."""

import json
import re
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.support.project import project
from tests.support.site import TABLES_SCRIPT

pytestmark = pytest.mark.extended

SETTINGS = """
FORCE_SCRIPT_NAME = "/base"
"""


def test_project_below_a_path(folder: Path) -> None:
    with project(folder, SETTINGS) as site:
        site.manage("shell", "--verbosity", "0", "-c", TABLES_SCRIPT)
        site.start_web()
        with httpx.Client(base_url=f"{site.url}/base", auth=("anna", "anna"), timeout=30) as api:
            body = {"task_type": "by_hand"}
            for _ in range(2):
                created = api.post("/api/jobs/", json=body).raise_for_status()
            assert created.headers["Location"].startswith("/base/api/jobs/")
            following = api.get("/api/jobs/?limit=1").json()["next"]
            assert following.startswith(f"{site.url}/base/api/jobs/")
            assert len(api.get(following).json()["results"]) == 1
            job_id = created.json()["job_id"]
            ticket = api.post(f"/api/jobs/{job_id}/ticket/").json()["ticket"]
            assert '"/base' in json.dumps(api.get("/api/schema/").json())
        with httpx.Client(base_url=site.url, follow_redirects=True, timeout=30) as browser:
            login = browser.get("/base/jobs/")
            assert login.url.path == "/base/jobs/login/"
            form = {"username": "anna", "password": "anna"}
            form["csrfmiddlewaretoken"] = browser.cookies["csrftoken"]
            headers = {"Referer": str(login.url)}
            page = browser.post(login.url, data=form, headers=headers)
            assert page.url.path == "/base/jobs/"
            page = browser.get(f"/base/jobs/job/{job_id}/")
            for address in re.findall(r'(?:src|href)="(/[^"]+)"', page.text):
                assert address.startswith("/base/"), address
                if "/static/" in address:
                    assert browser.get(address).status_code == 200, address
            assert '"apiUrl": "/base/api/jobs/"' in page.text
            assert '"socketUrl": "/base/ws/jobs/"' in page.text
        address = site.url.replace("http", "ws")
        with connect(f"{address}/base/ws/jobs/{job_id}/?ticket={ticket}") as socket:
            assert "job_created" in socket.recv(30)
