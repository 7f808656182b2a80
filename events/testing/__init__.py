"""For tests of code that publishes: what a job's log is expected to be.

pytest users have the fixture `job_events`, which gives each test logs of its own
(`events.testing.pytest_plugin`). The functions here look into the logs of the settings.
"""

from collections.abc import Iterable

from django.apps import apps

from events.exceptions import EventsError
from events.testing.assertions import Expected, check_events
from events.testing.job_events import JobEvents

__all__ = ["Expected", "JobEvents", "aassert_events", "assert_events"]


def assert_events(job_id: str, expected: Iterable[Expected]) -> None:
    """Raise AssertionError, with the whole log, unless these are its events, in this order.

    An item is an event's type, a dict that its data has (it may have more), both as a pair, or
    `...` for any number of other events. Without a Django project that has `events`, raises
    EventsError: there, the fixture `job_events` has a method of this name.
    """
    __tracebackhide__ = True
    _check_project()
    # Tests may import this module before there are models.
    from events.testing.project import outbox_hint, read_log  # noqa: PLC0415

    events = read_log(job_id)
    check_events(job_id, events, expected, lambda: outbox_hint(job_id, events))


async def aassert_events(job_id: str, expected: Iterable[Expected]) -> None:
    """The async twin of `assert_events`."""
    __tracebackhide__ = True
    _check_project()
    from events.testing.project import in_thread  # noqa: PLC0415 - as above

    await in_thread(assert_events, job_id, expected)


def _check_project() -> None:
    if not (apps.ready and apps.is_installed("events")):
        raise EventsError(
            "assert_events needs a Django project with `events` in INSTALLED_APPS, that is set up;"
            " without one, use job_events.assert_events of the pytest fixture."
        )
