"""Code of the test tasks of all queues."""

import os
import time
from typing import Any

from events.execution.run import current_run
from events.streams.clients import get_redis


def steps(job_id: str, count: int = 3) -> dict[str, Any]:
    run = current_run()
    for number in range(count):
        run.progress(100 * (number + 1) / count, f"step {number}")
    run.publisher.publish_event(job_id, {"event_type": "worked"})
    return {"steps": count, "attempt": run.attempt}


def wait_at_gate(job_id: str, *, cancellable: bool = True) -> str:
    """Wait until the test opens the gate or cancels the job."""
    run = current_run()
    run.publisher.publish_event(job_id, {"event_type": "at_gate", "pid": os.getpid()})
    while not get_redis().exists(f"open:{job_id}"):
        if cancellable:
            run.check_cancelled()
        time.sleep(0.05)
    run.publisher.publish_event(job_id, {"event_type": "through_gate"})
    return "through"
