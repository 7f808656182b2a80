"""Skip tests whose requirements the machine lacks, and report them; in CI they fail instead."""

import os
from typing import Any

import pytest

MISSING = pytest.StashKey[dict[str, list[str]]]()
_OUTPUT_KEY = "missing_requirements"


def need(request: pytest.FixtureRequest, condition: object, requirement: str) -> None:
    """Skip the requesting test, or all tests of the requesting fixture, unless `condition`."""
    if condition:
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI must have {requirement}")
    missing = request.config.stash.setdefault(MISSING, {})
    missing.setdefault(requirement, []).append(request.node.nodeid or "the whole run")
    pytest.skip(f"needs {requirement}")


def send_missing(config: pytest.Config) -> None:
    """Send the missing requirements of a process of pytest-xdist to its controller."""
    output: Any = getattr(config, "workeroutput", None)
    if output is not None:
        output[_OUTPUT_KEY] = config.stash.get(MISSING, {})


def receive_missing(config: pytest.Config, node: Any) -> None:
    """Add the missing requirements that a process has sent."""
    missing = config.stash.setdefault(MISSING, {})
    for requirement, tests in getattr(node, "workeroutput", {}).get(_OUTPUT_KEY, {}).items():
        missing.setdefault(requirement, []).extend(tests)


def report_missing(config: pytest.Config) -> list[str]:
    """Return the lines for the terminal summary."""
    missing = config.stash.get(MISSING, {})
    return [
        f"SKIPPED, needs {requirement}: {', '.join(tests)}"
        for requirement, tests in missing.items()
    ]
