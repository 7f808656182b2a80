"""Tools for tests of code that publishes events.

assertions     comparison of a log with the expected events
job_events     JobEvents: the object of the fixture `job_events`
project        ProjectJobEvents: the same in a Django project, with archive and outbox
pytest_plugin  the fixture `job_events`; loaded by opt-in
redis_server   EmbeddedRedis: a redis-server for tests and the demo; the Redis of a test run

May import all other packages. `assert_events` reads the logs of the project's settings.
"""

from collections.abc import Iterable
from functools import partial

from django.apps import apps

from events.exceptions import EventsError
from events.testing.assertions import Expected, check_events
from events.testing.job_events import JobEvents

__all__ = ["Expected", "JobEvents", "aassert_events", "assert_events"]


def assert_events(job_id: str, expected: Iterable[Expected]) -> None:
    """Raise AssertionError, with the whole log, unless the log has exactly the expected events.

    An item is an event type, a dict that the event's data contains, a pair of both, or `...` for
    any number of events. Raises EventsError outside of a Django project with `events`; use the
    method of the fixture `job_events` there.
    """
    __tracebackhide__ = True
    _check_project()
    from events.testing.project import outbox_hint, read_log  # noqa: PLC0415 - imports models

    events = read_log(job_id)
    check_events(job_id, events, expected, lambda: outbox_hint(job_id, events))


async def aassert_events(job_id: str, expected: Iterable[Expected]) -> None:
    """Async version of `assert_events`."""
    __tracebackhide__ = True
    _check_project()
    from events.testing.project import in_thread  # noqa: PLC0415 - as above

    await in_thread(partial(assert_events, job_id, expected))


def _check_project() -> None:
    if not (apps.ready and apps.is_installed("events")):
        raise EventsError(
            "assert_events needs a Django project with `events` in INSTALLED_APPS, after"
            " django.setup(). Without one, use job_events.assert_events of the pytest fixture."
        )
