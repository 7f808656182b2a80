"""System checks for the settings of jobs/, and for keys that nobody reads."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's name for it
from django.utils.module_loading import import_string

from events.checks import DURATION, Rule, broken_rules, is_count, is_duration, is_number
from events.conf import KEYS as EVENT_KEYS
from events.conf import SETTING, configured
from jobs.conf import KEYS
from jobs.exceptions import JobError
from jobs.execution.dispatch import get_runner, is_runner

# Below, a worker that is busy for a moment would be taken for dead.
SHORTEST_TIMEOUT: Final = 3.0


# A viewer whose connection broke, or whose server went away, is to have come back.
SHORTEST_PATIENCE: Final = 15.0
_LONGEST_PATIENCE: Final = 12 * 60 * 60


def _is_patience(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(task_type, str)
        and is_number(seconds, most=_LONGEST_PATIENCE)
        and seconds >= SHORTEST_PATIENCE
        for task_type, seconds in value.items()
    )


def _is_runner_map(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(task_type, str) and (isinstance(runner, str) or is_runner(runner))
        for task_type, runner in value.items()
    )


def is_callable_or_path(value: object) -> bool:
    """Whether it can be called, or is the dotted path of what can."""
    if isinstance(value, str):
        try:
            value = import_string(value)
        except (ImportError, ValueError):
            return False
    return callable(value)


def _is_retention(value: object) -> bool:
    kinds = {"days": is_days, "events": is_count}
    return isinstance(value, Mapping) and all(
        isinstance(task_type, str)
        and isinstance(rule, Mapping)
        and bool(rule)
        and all(name in kinds and kinds[name](amount) for name, amount in rule.items())
        for task_type, rule in value.items()
    )


def is_days(value: object) -> bool:
    """Whether it is a number of days, at most a hundred years."""
    return is_number(value, most=36_525) and value != 0


RULES: dict[str, Rule] = {
    "RUNNERS": Rule(
        "job_events.E020",
        "a dict of task_type to a task of a queue, a callable or the dotted path of one",
        _is_runner_map,
    ),
    "MAX_PAYLOAD_BYTES": Rule(
        "job_events.E021",
        "a whole number of bytes above 0",
        is_count,
    ),
    "CHAT_MODEL": Rule(
        "job_events.E022",
        "'provider:model', or empty for the offline model",
        lambda value: isinstance(value, str) and (not value or ":" in value[1:-1]),
    ),
    "OFFLINE_TOKEN_DELAY": Rule(
        "job_events.E023",
        "a number of seconds, 0 or more, at most 10",
        lambda value: is_number(value, most=10),
    ),
    "LOGIN_TIMEOUT": Rule("job_events.E026", DURATION, is_duration),
    "RECHECK_LOGINS": Rule("job_events.E027", DURATION, is_duration),
    "RECHECK_JOBS": Rule("job_events.E028", DURATION, is_duration),
    "MAX_SUBSCRIPTIONS": Rule("job_events.E029", "a whole number above 0", is_count),
    "VISIBLE_JOBS": Rule(
        "job_events.E030",
        "a callable, or the dotted path of one: user -> QuerySet of Job",
        is_callable_or_path,
    ),
    "RETENTION": Rule(
        "job_events.E031",
        "a dict of task_type, or '*', to {'days': a number above 0, 'events': a whole number above"
        " 0}, either or both",
        _is_retention,
    ),
    "WORKER_TIMEOUT": Rule(
        "job_events.E032",
        "a number of seconds from 3, at most those of a day",
        lambda value: is_duration(value) and value >= SHORTEST_TIMEOUT,
    ),
    "QUEUE_TIMEOUT": Rule(
        "job_events.E033",
        "a number of seconds above 0, at most those of a hundred years, or None",
        lambda value: value is None or (is_number(value, most=36_525 * 86_400) and value != 0),
    ),
    "CANCEL_UNWATCHED": Rule(
        "job_events.E034",
        f"a dict of task_type to a number of seconds from {SHORTEST_PATIENCE:g}, at most those of"
        " half a day",
        _is_patience,
    ),
    "DEMO": Rule("job_events.E024", "True or False", lambda value: isinstance(value, bool)),
}


def check_settings(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - the signature of a check
    **_kwargs: Any,
) -> list[CheckMessage]:
    """Check the keys of JOB_EVENTS that jobs/ reads, and name those that nobody does."""
    given = configured()
    return [*broken_rules(RULES, given), *_unknown_keys(given), *_broken_runners(given)]


def _unknown_keys(given: Mapping[str, Any]) -> list[CheckMessage]:
    allowed = EVENT_KEYS | KEYS
    return [
        Warning(
            f"{SETTING} has the key {name!r}, which nothing reads.",
            hint=f"The keys are: {', '.join(sorted(allowed))}.",
            id="job_events.W001",
        )
        for name in given
        if name not in allowed
    ]


def _broken_runners(given: Mapping[str, Any]) -> list[CheckMessage]:
    runners = given.get("RUNNERS")
    messages: list[CheckMessage] = []
    for task_type in runners if _is_runner_map(runners) and runners else ():
        try:
            get_runner(task_type)
        except JobError as error:
            messages.append(Error(str(error), id="job_events.E025"))
    return messages
