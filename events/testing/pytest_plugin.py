"""pytest plugin with the fixture `job_events`, for tests of code that publishes events.

Opt in with `pytest_plugins = ["events.testing.pytest_plugin"]` in the root conftest.py. It is not a
`pytest11` entry point: pytest imports entry points at start, and in a project that has its own
package `events` that import fails, and every test run with it.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

try:
    import pytest
except ImportError as error:
    raise ImportError(
        "The fixture job_events needs pytest: pip install 'django-job-events[pytest]'"
    ) from error

if TYPE_CHECKING:
    from events.testing import JobEvents

# ruff: noqa: PLC0415 - pytest-django configures Django after it has loaded the plugins

SETTINGS_VARIABLE: Final = "DJANGO_SETTINGS_MODULE"


@pytest.fixture(scope="session")
def _job_events_redis(pytestconfig: pytest.Config) -> Iterator[tuple[str, str]]:
    """The URL of the Redis of this run and the prefix of its keys, which are removed at the end."""
    from django.apps import apps

    from events.exceptions import EventsError
    from events.testing.redis_server import redis_for_tests, remove_keys

    if not apps.ready and _has_settings_module(pytestconfig):
        pytest.fail(
            f"{SETTINGS_VARIABLE} is set, but Django is not set up. Install pytest-django: pip"
            " install 'django-job-events[pytest]', or call django.setup() in conftest.py.",
            pytrace=False,
        )
    with ExitStack() as stack:
        try:
            url = stack.enter_context(redis_for_tests())
        except EventsError as error:
            pytest.fail(f"job_events has no Redis. {error}", pytrace=False)
        run = f"scratch_{token_hex(8)}_"
        yield url, run
        remove_keys(url, f"*{run}*")


@pytest.fixture
def job_events(
    request: pytest.FixtureRequest, _job_events_redis: tuple[str, str]
) -> Iterator["JobEvents"]:
    """The logs of one test: publishers, services and readers use them during the test.

    They are in the Redis of JOB_EVENTS_TEST_REDIS_URL, else of the project, else in one that is
    started for the run. Other keys are neither read nor modified.
    """
    from django.apps import apps

    url, run = _job_events_redis
    prefix = f"{run}{token_hex(4)}:"
    overrides = {"REDIS_URL": url, "REDIS_CLIENT_FACTORY": "", "STREAM_PREFIX": prefix}
    with ExitStack() as stack:
        if apps.ready:
            _override_project_settings(request, stack, overrides)
        else:
            _override_defaults(stack, overrides)
        if apps.ready and apps.is_installed("events"):
            from events.testing.project import ProjectJobEvents

            yield ProjectJobEvents(url, prefix)
        else:
            from events.testing import JobEvents

            yield JobEvents(url, prefix)


def _override_project_settings(
    request: pytest.FixtureRequest, stack: ExitStack, overrides: dict[str, str]
) -> None:
    """Override the project's JOB_EVENTS during the test.

    Uses pytest-django's fixture `settings` if it exists. A test may use that fixture as well, and
    two independent overrides would not be undone in order.
    """
    from django.test.utils import override_settings

    from events.conf import SETTING, configured

    value = {**configured(), **overrides}
    if request.config.pluginmanager.has_plugin("django"):
        settings: Any = request.getfixturevalue("settings")
        setattr(settings, SETTING, value)
    else:
        stack.enter_context(override_settings(**{SETTING: value}))


def _override_defaults(stack: ExitStack, overrides: dict[str, str]) -> None:
    """Override the settings without a project, and REDIS_URL for programs that read it."""
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    patch.setattr("events.conf.configured", lambda: overrides)
    patch.setenv("REDIS_URL", overrides["REDIS_URL"])


def _has_settings_module(config: pytest.Config) -> bool:
    """Return whether the environment or pytest's configuration file names a settings module.

    Without pytest-django, pytest does not parse the option in the file.
    """
    file = config.inipath
    return SETTINGS_VARIABLE in os.environ or (
        file is not None and SETTINGS_VARIABLE in file.read_text(encoding="utf-8")
    )
