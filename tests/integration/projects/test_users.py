"""A custom user model: login by e-mail, UUID keys, no username and no first name."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from tests.support.project import project, run_script

pytestmark = pytest.mark.extended

SETTINGS = """
import sys
INSTALLED_APPS += ["accounts"]
AUTH_USER_MODEL = "accounts.User"
"""
MODELS = """
import uuid
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models

class Manager(BaseUserManager):
    def create_user(self, email, password, **fields):
        user = self.model(email=email, **fields)
        user.set_password(password)
        user.save()
        return user

class User(AbstractBaseUser, PermissionsMixin):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    email = models.EmailField(unique=True)
    is_staff = models.BooleanField(default=False)
    USERNAME_FIELD = EMAIL_FIELD = "email"
    objects = Manager()
"""
USERS = """
from accounts.models import User
from django.contrib.auth.models import Permission
from django.core.management import call_command
call_command("makemigrations", "accounts", verbosity=0)
call_command("migrate", verbosity=0)
User.objects.create_user("demo@example.org", "demo", is_staff=True, is_superuser=True)
anna = User.objects.create_user("anna@example.org", "anna")
"""
SCRIPT = """
from accounts.models import User
from django.core.management import call_command
from django.test import Client
from jobs import inputs, services
from jobs.models import Job

anna, demo = User.objects.order_by("email")
services.job_create(job_id="j", task_type="x", title="Tea", owner=anna)
services.job_create(job_id="other", task_type="x", title="Coffee", owner=demo)
services.job_start(job_id="j")
inputs.input_request(job_id="j", name="q", prompt="?")
inputs.input_give(job_id="j", name="q", value=1, by=anna)
client = Client(headers={"host": "localhost"})
client.force_login(demo)
admin = "/admin/job_events_jobs/job/"
found = client.get(f"{admin}?q=anna@example.org").content.decode()
assert "Tea" in found and "Coffee" not in found
pk = Job.objects.get(job_id="j").pk
for path in (f"{admin}{pk}/change/", "/jobs/", "/jobs/job/j/"):
    assert "anna@example.org" in client.get(path).content.decode(), path
jobs = client.get("/api/jobs/?owner=anna@example.org").json()["results"]
assert {job["owner"] for job in jobs} == {"anna@example.org"}
assert jobs[0]["job_id"] == "j"
client.force_login(anna)
assert client.get("/api/jobs/").json()["results"] == jobs
assert client.get("/api/jobs/other/").status_code == 404
call_command("process_events", once=True)
anna.delete()
assert not Job.objects.filter(job_id="j").exists()
"""


async def follow(url: str, **options: Any) -> list[str]:
    async with websockets.connect(url, **options) as socket:
        return [json.loads(text)["type"] async for text in socket]


async def follow_with_ticket(url: str, ws_url: str) -> None:
    auth = ("anna@example.org", "anna")
    async with httpx.AsyncClient(base_url=url, auth=auth, timeout=30) as client:
        created = await client.post("/api/jobs/", json={"task_type": "by_hand"})
        job_id = created.raise_for_status().json()["job_id"]
        ticket = (await client.post(f"/api/jobs/{job_id}/ticket/")).json()["ticket"]
        socket = f"{ws_url}/ws/jobs/{job_id}/?ticket={ticket}"
        following = asyncio.create_task(follow(socket, origin=url))
        await asyncio.sleep(6)  # longer than RECHECK_LOGINS
        key = {"Idempotency-Key": "1"}
        for _ in range(2):
            again = await client.post("/api/jobs/", json={"task_type": "by_hand"}, headers=key)
            again.raise_for_status()
        (await client.post(f"/api/jobs/{job_id}/cancel/")).raise_for_status()
        assert (await following)[-1] == "end"
        assert (await client.delete(f"/api/jobs/{job_id}/")).status_code == 204


def test_users_with_emails_and_uuids(folder: Path, tmp_path: Path) -> None:
    with project(folder, SETTINGS) as site:
        package = folder / "accounts"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "models.py").write_text(MODELS)
        run_script(site, USERS)
        site.start_web()
        asyncio.run(follow_with_ticket(site.url, site.ws_url))
        run_script(site, SCRIPT)
        site.manage("check")
