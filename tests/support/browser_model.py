"""What the model of the browser, job-model.js, derives from a log; computed by node."""

import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from events.types import Event

NODE = shutil.which("node")
_SCRIPT = Path(__file__).with_name("job_model.mjs")


def api_event(event: Event) -> dict[str, Any]:
    """Return the event as the HTTP API sends it."""
    names = ("id", "job_id", "event_type", "timestamp", "data")
    return {name: getattr(event, name) for name in names}


def model_of(
    events: Iterable[Any], job: dict[str, Any] | None = None, *, window: int = 0
) -> dict[str, Any]:
    """Return the facts; with `window`, the log holds only so many of the latest events."""
    given = json.dumps({"events": list(events), "job": job, "window": window})
    done = subprocess.run(
        [NODE or "node", str(_SCRIPT)], input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def outline(facts: dict[str, Any], attempt: int = 1) -> list[str]:
    """Return the spans of an attempt as indented lines: kind, name, status."""
    return [
        "  " * row["depth"] + " ".join([row["kind"], row["name"], row["status"]])
        for row in facts["spans"][str(attempt)]
    ]
