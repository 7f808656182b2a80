"""1,000 jobs fail at once: two processors send one message with their number."""

import json

import pytest

from tests.integration.jobs.alerts.receivers import Receiver, until
from tests.support.project import project, run_script
from tests.support.site import TABLES_SCRIPT

pytestmark = [pytest.mark.extended, pytest.mark.timeout(240)]

JOBS = 1000
GROUP_WAIT_SECONDS = 20
SETTINGS = """
JOB_EVENTS["ALERT_RULES"] = {{"failures": {{"kind": "event", "event_type": "task_failed"}}}}
JOB_EVENTS["ALERT_CHANNELS"] = {{"hook": {channel}}}
JOB_EVENTS["ALERT_GROUP_WAIT"] = {wait}
"""
SCRIPT = f"""
from django.db import transaction
from jobs import services
with transaction.atomic():
    for number in range({JOBS}):
        services.job_create(task_type="manual", job_id=f"j{{number}}")
        services.job_fail(job_id=f"j{{number}}", error="boom")
"""


def test_one_message(short_tmp):
    receiver = Receiver()
    settings = SETTINGS.format(channel=receiver.channel(), wait=GROUP_WAIT_SECONDS)
    with receiver.running(), project(short_tmp / "site", settings) as site:
        run_script(site, TABLES_SCRIPT)
        run_script(site, SCRIPT)
        processors = [site.start_processor() for _ in range(2)]
        until(lambda: receiver.requests, seconds=150)
        for processor in processors:
            site.stop_child(processor)
    ((_path, _headers, body),) = receiver.requests
    message = json.loads(body)["data"]
    assert (message["state"], message["count"], message["firing"]) == ("firing", JOBS, JOBS)
    assert len(message["alerts"]) == 20
