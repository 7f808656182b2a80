"""System checks: a wrong setting is a message with an id, not an exception in a view."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error

from events.conf import SETTING, configured, raw_setting
from events.types import shown

_LONGEST: Final = 24 * 60 * 60
DURATION: Final = "a number of seconds above 0, at most those of a day"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a key of the setting must be, in a test and in words."""

    id: str
    allowed: str
    holds: Callable[[Any], bool]


def broken_rules(rules: Mapping[str, Rule], given: Mapping[str, Any]) -> list[CheckMessage]:
    """An error for each given key that breaks its rule."""
    return [
        Error(
            f"{SETTING}[{name!r}] is {shown(given[name])}.",
            hint=f"It must be {rule.allowed}.",
            id=rule.id,
        )
        for name, rule in rules.items()
        if name in given and not rule.holds(given[name])
    ]


def is_number(value: object, *, most: float = sys.float_info.max) -> bool:
    """Whether `value` is a number from 0 to `most`; True, False, NaN and infinity are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most


def is_count(value: object) -> bool:
    """Whether `value` is a whole number above 0."""
    return isinstance(value, int) and is_number(value) and value > 0


def is_duration(value: object) -> bool:
    """Whether `value` is a number of seconds above 0, at most those of a day."""
    return is_number(value, most=_LONGEST) and value != 0


def _is_redis_url(value: object) -> bool:
    if not isinstance(value, str) or not value.startswith(("redis://", "rediss://", "unix://")):
        return False
    try:
        return urlsplit(value).port != 0
    except ValueError:  # a bad host, or a bad port
        return False


RULES: dict[str, Rule] = {
    "REDIS_URL": Rule("job_events.E002", "a redis://, rediss:// or unix:// address", _is_redis_url),
    "REDIS_TIMEOUT": Rule("job_events.E003", DURATION, is_duration),
    "STREAM_PREFIX": Rule(
        "job_events.E004",
        "a string that is not empty and has no space",
        lambda value: isinstance(value, str) and bool(value) and " " not in value,
    ),
    "MAX_EVENT_BYTES": Rule("job_events.E005", "a whole number of bytes above 0", is_count),
    "PAGE_LIMIT": Rule("job_events.E006", "a whole number of events above 0", is_count),
    "KEEP_ALIVE": Rule("job_events.E007", DURATION, is_duration),
    "STREAM_TAIL": Rule(
        "job_events.E008",
        "a whole number of events, 0 or more",
        lambda value: isinstance(value, int) and is_number(value),
    ),
    "STREAM_TTL": Rule(
        "job_events.E009",
        "a number of seconds, 0 or more, at most those of 30 days",
        lambda value: is_number(value, most=30 * _LONGEST),
    ),
    "SEND_TIMEOUT": Rule("job_events.E010", DURATION, is_duration),
}


def check_settings(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - the signature of a check
    **_kwargs: Any,
) -> list[CheckMessage]:
    """Check the keys of JOB_EVENTS that events/ reads."""
    raw = raw_setting()
    if not isinstance(raw, dict):
        message = f"{SETTING} is {raw!r}."
        return [Error(message, hint="It must be a dict of settings.", id="job_events.E001")]
    return broken_rules(RULES, configured())
