"""The API does what its schema says, asked by schemathesis: a few cases here, always the same; as
many others as one likes by `SCHEMA_CASES=2000 pytest tests/integration/site/test_schema.py`."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from zlib import crc32

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import ignored_auth

from events.archive.terms import words_of
from jobs.api.openapi.extensions import api_schema as made_schema
from tests.support.site import Site

FEW = 12
CASES = int(os.environ.get("SCHEMA_CASES", FEW))

# A user of their own: the site is that of other tests, too.
SCRIPT = """
from django.contrib.auth.models import Permission, User
from jobs import services
carl = User.objects.create_user("carl", password="carl")
carl.user_permissions.add(Permission.objects.get(codename="publish_events"))
for job_id in ("schema-done", "schema-failed", "schema-running"):
    services.job_create(job_id=job_id, owner=carl, task_type="manual", title="Tea & <b>milk</b>")
    services.job_start(job_id=job_id)
services.job_complete(job_id="schema-done", result={"cups": 3})
services.job_fail(job_id="schema-failed", error="No tea")
"""
A_LINK = "cD0yMDI2LTExLTIyKzAyJTNBNTIlM0E0MCUyQjAwJTNBMDA="  # p=2026-11-22 02:52:40+00:00
# Operations known to refuse anonymous users: checking a password takes the site long.
GUARDED: set[str] = set()
JOBS = ("schema-done", "schema-failed", "schema-running")

CONFIG = SchemathesisConfig.from_dict(
    {
        # NUL is refused, which other tests show; a schema cannot say so of every text in a body.
        "generation": {"with-security-parameters": False, "allow-x00": False},
        "checks": {
            # A key that came with something else, and a log that was cut, are not the data's fault.
            "positive_data_acceptance": {
                "expected-statuses": ["2xx", "304", "401", "403", "404", "409", "410", "422"]
            }
        },
    }
)
schema = schemathesis.openapi.from_dict(
    json.loads(json.dumps(made_schema(), default=str)), config=CONFIG
)


def mend(case: Case) -> None:
    """Let the job that is asked for be there, and mind what a schema cannot say."""
    path, query, headers = case.path_parameters or {}, case.query or {}, case.headers or {}
    job_id = path.get("job_id")
    if isinstance(job_id, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", job_id):
        # The stream of a job that is not over has no end; the replay of what takes long, hardly.
        is_stream = case.operation.path.endswith("/events/stream/")
        among = JOBS[:1] if is_stream else JOBS if case.method == "GET" else JOBS[1:]
        path["job_id"] = among[crc32(job_id.encode()) % len(among)]
    if "search" in query and not words_of(str(query["search"])):
        del query["search"]  # what has no words is refused
    if "speed" in query:
        query.setdefault("replay", "1")
    headers.pop("x-schemathesis-unknown-property", None)  # HTTP ignores such a header
    mend_cursors(case.operation.path, query, headers)
    if case.meta is None or not case.meta.generation.mode.is_negative:
        mend_producer(headers, case.body)


def mend_cursors(path: str, query: Any, headers: Any) -> None:
    if path == "/api/jobs/" and re.fullmatch("[A-Za-z0-9+/=]+", str(query.get("cursor", ""))):
        query["cursor"] = A_LINK
    if path == "/api/events/stream/":
        query.pop("after", None)  # there are as many as jobs
        headers.pop("Last-Event-ID", None)
    if not headers.get("Last-Event-ID", "0"):
        del headers["Last-Event-ID"]  # one that is empty is none
    for given in (query, headers):
        for name in given.keys() & {"after", "before", "cursor", "Last-Event-ID"}:
            given[name] = re.sub(r"\d(\d{19})", r"\1", str(given[name]))  # 2**64 is the end


def mend_producer(headers: Any, body: Any) -> None:
    if "Producer-Id" in headers or "Producer-Sequence" in headers:
        headers.pop("Idempotency-Key", None)
        headers.setdefault("Producer-Id", "p")
        headers.setdefault("Producer-Sequence", "1")
    for event in body if isinstance(body, list) else [body]:
        if isinstance(event, dict) and str(event.get("timestamp")).startswith(("0001", "9999")):
            del event["timestamp"]  # it could not be shown in every time zone


@pytest.fixture(scope="session")
def credentials(site: Site) -> dict[str, dict[str, str]]:
    """What a browser in which carl has logged in sends with each request."""
    site.manage("shell", "--verbosity", "0", "-c", SCRIPT)
    with closing(site.session("carl")) as client:
        cookies = dict(client.cookies)
    return {"cookies": cookies, "headers": {"X-CSRFToken": cookies["csrftoken"]}}


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


@pytest.mark.timeout(max(180, CASES))
@schema.parametrize()
@settings(
    max_examples=CASES,
    deadline=None,
    derandomize=CASES == FEW,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_an_operation(case: Case, site: Site, session: requests.Session, credentials: Any) -> None:
    mend(case)
    label = case.operation.label
    answer = case.call_and_validate(
        base_url=site.url,
        session=session,
        timeout=20,
        excluded_checks=[ignored_auth] if label in GUARDED else [],
        **credentials,
    )
    if answer.status_code < 300:
        GUARDED.add(label)
