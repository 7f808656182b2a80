"""Durations as text: the server and the scripts of the pages show the same."""

import json
import subprocess
from pathlib import Path

import pytest
from django.utils import translation

import events
from events.durations import span_text
from tests.support.browser_model import NODE

TEXTS = {
    0: "0 ms",
    0.0123: "12 ms",
    0.9994: "999 ms",
    0.9996: "1.00 s",
    6.3: "6.30 s",
    9.996: "10.00 s",
    12.34: "12.34 s",
    59.97: "59.97 s",
    59.996: "1 min",
    120: "2 min",
    125: "2 min 5 s",
    3599.6: "60 min",
    3725: "1 h 2 min",
    90_000: "25 h",
}
SCRIPT = """
const { formatMs } = await import(process.argv[1]);
console.log(JSON.stringify(process.argv.slice(2).map((seconds) => formatMs(seconds * 1000))));
"""


@pytest.mark.parametrize(("seconds", "text"), TEXTS.items())
def test_duration_has_at_most_two_units(seconds: float, text: str) -> None:
    assert span_text(seconds) == text


def test_decimal_mark_is_that_of_the_language() -> None:
    with translation.override("de"):
        assert span_text(6.3) == "6,30 s"


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_scripts_show_the_same() -> None:
    module = Path(events.__file__).parent / "static/job_events/time-format.js"
    command = [str(NODE), "--input-type=module", "-e", SCRIPT, module.as_uri(), *map(str, TEXTS)]
    environment = {"LC_ALL": "en_US.UTF-8"}
    done = subprocess.run(command, capture_output=True, check=True, env=environment)
    assert json.loads(done.stdout) == list(TEXTS.values())
