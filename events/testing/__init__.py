"""For tests of code that publishes: what a job's log is expected to be.

pytest users have the fixture `job_events`, which gives each test logs of its own
(`events.integrations.pytest_plugin`). The functions here look into the logs of the settings.
"""

from collections.abc import Iterable

from channels.db import database_sync_to_async

from events.testing.expected import Expected, check_events
from events.testing.job_events import JobEvents

__all__ = ["Expected", "JobEvents", "aassert_events", "assert_events"]


def assert_events(job_id: str, expected: Iterable[Expected]) -> None:
    """Raise AssertionError, with the whole log, unless these are its events, in this order.

    An item is an event's type, a dict that its data has (it may have more), both as a pair, or
    `...` for any number of other events.
    """
    __tracebackhide__ = True
    # Tests may import this module before there are models.
    from events.testing.project import outbox_hint, read_log  # noqa: PLC0415

    events = read_log(job_id)
    check_events(job_id, events, expected, outbox_hint(job_id, events))


async def aassert_events(job_id: str, expected: Iterable[Expected]) -> None:
    """The async twin of `assert_events`."""
    __tracebackhide__ = True
    await database_sync_to_async(assert_events)(job_id, expected)
