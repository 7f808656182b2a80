"""How processes share the tests of a run: each file, and each of some folders, is one's alone.

So what takes long to start is started once: a site with its Chromium, workers, databases, a wheel.
"""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

FOLDERS = (
    "tests/browser/", "tests/integration/site/", "tests/integration/celery/",
    "tests/integration/queues/", "tests/integration/packaging/", "tests/faults/processes/",
)  # fmt: skip


class ByFolder(LoadScopeScheduling):
    """A scheduler of pytest-xdist; what has most tests comes first."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((folder for folder in FOLDERS if file.startswith(folder)), file)


def tell_apart(items: list[pytest.Item]) -> None:
    """Give each test an id: pytest-xdist would run one of several that have the same.

    Schemathesis has the operation in the name of a test only, since pytest has its ids from
    elsewhere.
    """
    for item in items:
        label = getattr(item, "operation_label", None)
        named: Any = item
        if label is not None and named.id.params is None:
            named._id = named.id.with_params(label)
    if len({item.nodeid for item in items}) < len(items):
        raise pytest.UsageError("Several tests have the same id, and one of them would be run.")
