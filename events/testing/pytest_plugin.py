"""pytest plugin with the fixture `job_events`, for tests of code that publishes events.

Opt in with `pytest_plugins = ["events.testing.pytest_plugin"]` in the root conftest.py. It is not a
`pytest11` entry point: pytest imports entry points at start, and in a project that has its own
package `events` that import fails, and every test run with it.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

try:
    import pytest
except ImportError as error:
    raise ImportError(
        "The fixture job_events needs pytest: pip install 'django-job-events[pytest]'"
    ) from error

if TYPE_CHECKING:
    from events.testing import JobEvents
    from events.testing.redis_space import Space

# ruff: noqa: PLC0415

SETTINGS_MODULE: Final = "DJANGO_SETTINGS_MODULE"


@pytest.fixture(scope="session")
def _job_events_space(pytestconfig: pytest.Config) -> Iterator["Space"]:
    """The Redis of this run, found or started when the first test asks for it."""
    from django.apps import apps

    from events.exceptions import EventsError
    from events.testing.redis_space import opened_space

    if not apps.ready and _names_settings(pytestconfig):
        pytest.fail(
            f"There is a {SETTINGS_MODULE}, and nothing has set Django up: pytest-django does,"
            " pip install 'django-job-events[pytest]', or call django.setup() in conftest.py.",
            pytrace=False,
        )
    with ExitStack() as stack:
        try:
            space = stack.enter_context(opened_space())
        except EventsError as error:
            pytest.fail(f"job_events has no Redis. {error}", pytrace=False)
        yield space


@pytest.fixture
def job_events(request: pytest.FixtureRequest, _job_events_space: "Space") -> Iterator["JobEvents"]:
    """The job logs of this test alone: publishers, services and readers all use them.

    In the Redis that JOB_EVENTS_TEST_REDIS_URL names, else in the project's, if it answers, else
    in one that is started for the run. Existing keys are neither read nor touched.
    """
    from django.apps import apps

    space = _job_events_space
    prefix = space.new_prefix()
    where = {"REDIS_URL": space.url, "STREAM_PREFIX": prefix}
    with ExitStack() as stack:
        if apps.ready:
            _set_up_project(request, stack, where)
        else:
            _set_up_without_project(stack, where)
        if apps.ready and apps.is_installed("events"):
            from events.testing.project import ProjectJobEvents

            yield ProjectJobEvents(space.url, prefix)
        else:
            from events.testing import JobEvents

            yield JobEvents(space.url, prefix, space.clients)


def _set_up_project(
    request: pytest.FixtureRequest, stack: ExitStack, where: dict[str, str]
) -> None:
    """Let the project's settings say where the logs are.

    By pytest-django's fixture, if it is there: a test may use that, too, and what two change that
    do not know of each other is not restored.
    """
    from django.test.utils import override_settings

    from events.conf import SETTING, configured

    value = {**configured(), **where}
    if request.config.pluginmanager.has_plugin("django"):
        settings: Any = request.getfixturevalue("settings")
        setattr(settings, SETTING, value)
    else:
        stack.enter_context(override_settings(**{SETTING: value}))


def _set_up_without_project(stack: ExitStack, where: dict[str, str]) -> None:
    """Let publishers use these logs, and programs that find their Redis by REDIS_URL."""
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    patch.setattr("events.conf.configured", lambda: where)
    patch.setenv("REDIS_URL", where["REDIS_URL"])


def _names_settings(config: pytest.Config) -> bool:
    """Whether there is a Django project; of pytest-django's option, pytest knows by it alone."""
    file = config.inipath
    return SETTINGS_MODULE in os.environ or (
        file is not None and SETTINGS_MODULE in file.read_text(encoding="utf-8")
    )
