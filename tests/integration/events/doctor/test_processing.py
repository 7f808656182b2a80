"""Findings about processors, lag, stalled logs and losses."""

import re
import time

import pytest
from django.utils import timezone

from events.models import LogGap
from events.processor.problems import PROBLEM_CODES
from tests.integration.events.doctor.conftest import find
from tests.integration.events.processor.conftest import make_log, make_processor, put_in_outbox

pytestmark = [pytest.mark.django_db, pytest.mark.database]

CODES = (
    "processors",
    "processor-loops",
    "outbox-lag",
    "archive-lag",
    "stalled-logs",
    "lost-events",
)


def test_nothing_is_wrong():
    make_processor()
    assert {code: find(code).state for code in CODES} == dict.fromkeys(CODES, "ok")
    assert find("processors").seen == "Running: host:1."
    assert set(CODES) < set(PROBLEM_CODES)


def states():
    """The codes with an error."""
    return [code for code in CODES if find(code).state == "error"]


def test_no_processor():
    assert states() == ["processors"]
    finding = find("processors")
    assert finding.seen.strip() == "process_events is not running."
    assert finding.action == "Start `manage.py process_events` and keep it running."


def test_loop_that_fails():
    processor = make_processor()
    failing = {"failures": 9, "failing": True, "failing_seconds": 90, "error": "ValueError: x"}
    processor.loops["relay"] |= failing
    processor.save()
    assert states() == ["processor-loops"]
    assert "ValueError: x" in find("processor-loops").seen
    assert re.search(r"for 9\d s\.", find("processor-loops").seen)


def test_lag(redis_client):
    make_processor()
    put_in_outbox(make_log(), 90)
    old = int((time.time() - 90) * 1000)
    redis_client.xadd("job_events:abc", {"data": "{}"}, id=f"{old}-0")
    assert states() == ["outbox-lag", "archive-lag"]


def test_stalled_log_and_loss():
    make_processor()
    log = make_log(error="The key holds no stream.", since=timezone.now())
    LogGap.objects.create(log=log, after="1-0", detected_at=timezone.now())
    assert states() == ["stalled-logs", "lost-events"]
    assert "The key holds no stream." in find("stalled-logs").seen
