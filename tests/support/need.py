"""What a machine may lack: skipped there and told at the end; in CI nothing may be lacking."""

import os
from typing import Any

import pytest

LACKING = pytest.StashKey[dict[str, list[str]]]()
_SENT = "lacking"


def need(request: pytest.FixtureRequest, condition: object, what: str) -> None:
    """Skip the test, or all tests of the fixture that asks, unless `condition` holds."""
    if condition:
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI must have {what}")
    lacking = request.config.stash.setdefault(LACKING, {})
    lacking.setdefault(what, []).append(request.node.nodeid or "the whole run")
    pytest.skip(f"needs {what}")


def send_what_lacked(config: pytest.Config) -> None:
    """Of one of several processes that run the tests, to the one that tells the end."""
    output: Any = getattr(config, "workeroutput", None)
    if output is not None:
        output[_SENT] = config.stash.get(LACKING, {})


def hear_what_lacked(config: pytest.Config, node: Any) -> None:
    """From a process that has run its tests."""
    lacking = config.stash.setdefault(LACKING, {})
    for what, who in getattr(node, "workeroutput", {}).get(_SENT, {}).items():
        lacking.setdefault(what, []).extend(who)


def tell_what_lacked(config: pytest.Config) -> list[str]:
    """The lines for the end of the run."""
    lacking = config.stash.get(LACKING, {})
    return [f"SKIPPED for want of {what}: {', '.join(who)}" for what, who in lacking.items()]
