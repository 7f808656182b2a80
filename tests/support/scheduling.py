"""Scheduling of tests in pytest-xdist: a file, or one of some folders, runs in one process.

Fixtures that are slow to start are started once: sites, Chromium, workers, databases, the wheel.
"""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

FOLDERS = (
    "tests/browser/", "tests/integration/site/", "tests/integration/celery/",
    "tests/integration/queues/", "tests/integration/packaging/", "tests/faults/processes/",
)  # fmt: skip


class FolderScheduling(LoadScopeScheduling):
    """Scheduler that starts with the largest scopes."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((folder for folder in FOLDERS if file.startswith(folder)), file)


def make_ids_unique(items: list[pytest.Item]) -> None:
    """Add the operation of schemathesis to the test id.

    Schemathesis adds it to the name only; pytest-xdist runs one of several tests with equal ids.
    """
    for item in items:
        label = getattr(item, "operation_label", None)
        named: Any = item
        if label is not None and named.id.params is None:
            named._id = named.id.with_params(label)
    if len({item.nodeid for item in items}) < len(items):
        raise pytest.UsageError("Several tests have the same id: only one of them would run.")
