"""Scheduling of tests in pytest-xdist: a file, or one of some folders, runs in one process.

Fixtures that are slow to start are started once: sites, Chromium, workers, databases, the wheel.
"""

from collections import Counter
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# They take longest, and start first, in this order.
FOLDERS = (
    "tests/browser/", "tests/faults/processes/", "tests/integration/site/",
    "tests/integration/celery/", "tests/integration/packaging/", "tests/integration/projects/",
    "tests/integration/events/management/", "tests/integration/config/",
    "tests/integration/queues/",
)  # fmt: skip


def scope_of(nodeid: str) -> str:
    """Return the folder or the file whose tests run in the process of this one."""
    file = nodeid.partition("::")[0]
    return next((folder for folder in FOLDERS if file.startswith(folder)), file)


class FolderScheduling(LoadScopeScheduling):
    """Scheduler that takes folders and files in the order of the collection."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


def sort_by_scope(items: list[pytest.Item]) -> None:
    """Put the folders first, then the files with most tests; tests of one keep their order."""
    sizes = Counter(scope_of(item.nodeid) for item in items)

    def key(item: pytest.Item) -> tuple[int, int, str]:
        scope = scope_of(item.nodeid)
        place = FOLDERS.index(scope) if scope in FOLDERS else len(FOLDERS)
        return place, -sizes[scope], scope

    items.sort(key=key)


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
