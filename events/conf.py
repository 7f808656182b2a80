"""The settings table of events/: default, rule, check id and help text of each key of `JOB_EVENTS`.

Accessors (`event_settings`), system checks and the settings reference are derived from the table.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from events.codec import MAX_EVENT_BYTES
from events.error_text import ErrorText

SETTING: Final = "JOB_EVENTS"
DAY_SECONDS: Final = 24 * 60 * 60

_PREFIX: Final = re.compile(r"[^ {}]*(\{[^ {}]+\}[^ {}]*)?")

T = TypeVar("T")


class Rule(NamedTuple):
    """Condition on the value of a setting; `allowed` describes it in hints and in the reference.

    A value that may contain a password is not part of messages.
    """

    allowed: str
    holds: Callable[[Any], bool]
    is_secret: bool = False


class Setting(Generic[T]):
    """Descriptor of one key: reads the project's value on each access, or returns the default."""

    name: str

    def __init__(
        self, default: T, rule: Rule, check_id: str, help_text: str, *, variable: str = ""
    ) -> None:
        self.default = default
        self.rule = rule
        self.check_id = f"job_events.{check_id}"
        self.help_text = help_text
        self.variable = variable

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type) -> T:
        default = os.environ.get(self.variable, self.default) if self.variable else self.default
        return cast(T, configured().get(self.name, default))


class SettingsTable:
    """Base class of the settings of an app; subclasses declare one `Setting` per key."""

    @classmethod
    def table(cls) -> dict[str, Setting[Any]]:
        """Return the settings by name, in the order of their declaration."""
        return {name: value for name, value in vars(cls).items() if isinstance(value, Setting)}


def is_number(value: object, *, most: float = sys.float_info.max) -> bool:
    """Return whether `value` is a number from 0 to `most`; booleans, NaN and infinity are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and is_number(value)


def _is_redis_url(value: object) -> bool:
    if not isinstance(value, str) or not value.startswith(("redis://", "rediss://", "unix://")):
        return False
    try:
        return urlsplit(value).port != 0
    except ValueError:  # invalid host or port
        return False


def _is_path_of_callable(value: object) -> bool:
    try:
        return isinstance(value, str) and callable(import_string(value))
    except ImportError:
        return False


def seconds(least: int, most: int = DAY_SECONDS) -> Rule:
    """Return the rule for a number of seconds from `least` to `most`."""
    return Rule(
        ErrorText("seconds, %(least)d to %(most)d", least=least, most=most),
        lambda value: is_number(value, most=most) and value >= least,
    )


def duration(most: int = DAY_SECONDS) -> Rule:
    """Return the rule for a number of seconds above 0, at most `most`."""
    return Rule(
        ErrorText("seconds, above 0, at most %(most)d", most=most),
        lambda value: is_number(value, most=most) and value > 0,
    )


count: Final = Rule(ErrorText("an integer above 0"), lambda value: _is_integer(value) and value > 0)
_length: Final = Rule("an integer, 0 or above", _is_integer)
# In a cluster, keys with the same hash tag are in one slot.
_prefix: Final = Rule(
    "a non-empty string without spaces and braces, except for one hash tag `{…}`",
    lambda value: isinstance(value, str) and bool(value) and bool(_PREFIX.fullmatch(value)),
)
_share: Final = Rule(
    "a number above 0, at most 1", lambda value: is_number(value, most=1) and value > 0
)
_boolean: Final = Rule("True or False", lambda value: isinstance(value, bool))
_redis_url: Final = Rule("a redis://, rediss:// or unix:// URL", _is_redis_url, is_secret=True)

_client_factory: Final = Rule(
    "an empty string or the dotted path of a function",
    lambda value: value == "" or _is_path_of_callable(value),
)


class EventSettings(SettingsTable):
    """The keys of `JOB_EVENTS` that events/ reads; without a Django project the defaults apply."""

    REDIS_URL = Setting(
        "redis://127.0.0.1:6379/0", _redis_url, "E002", "URL of Redis", variable="REDIS_URL"
    )
    REDIS_CLIENT_FACTORY = Setting(
        "",
        _client_factory,
        "E016",
        "creates the clients instead, called with `asynchronous=False` or `True`: for Sentinel,"
        " Redis Cluster, and what a URL cannot describe",
    )
    REDIS_TIMEOUT = Setting(10.0, duration(), "E003", "time limit of a Redis command")
    STREAM_PREFIX = Setting("job_events:", _prefix, "E004", "prefix of stream keys")
    MAX_EVENT_BYTES = Setting(MAX_EVENT_BYTES, count, "E005", "maximum event size in bytes of JSON")
    PAGE_LIMIT = Setting(1000, count, "E006", "maximum number of events on a page of history")
    KEEP_ALIVE = Setting(15.0, duration(), "E007", "keep-alive interval of idle live connections")
    STREAM_TAIL = Setting(1000, _length, "E008", "number of archived events kept in a stream")
    STREAM_TTL = Setting(
        3600.0, seconds(0, 30 * DAY_SECONDS), "E009", "lifetime of the stream of a finished job"
    )
    MEMORY_PRESSURE = Setting(
        0.75,
        _share,
        "E013",
        "share of Redis's `maxmemory` above which streams keep nothing that is archived",
    )
    SEND_TIMEOUT = Setting(
        30.0, duration(), "E010", "time limit for sending a message to a live connection"
    )
    TOMBSTONE_TTL = Setting(
        30.0 * DAY_SECONDS,
        seconds(7200, 3650 * DAY_SECONDS),
        "E012",
        "time for which the job_id of a deleted job is refused",
    )
    MAX_REQUESTS = Setting(
        64, count, "E015", "maximum number of requests that an ASGI server process handles at once"
    )
    MIRROR_PUBSUB = Setting(
        False, _boolean, "E018", "publishes appended events to the Pub/Sub channel of the job, too"
    )
    LOG_ONLY = Setting(
        False, _boolean, "E011", "permits an own package `jobs` in `INSTALLED_APPS` instead of ours"
    )

    @property
    def SELECTS_LANGUAGE(self) -> bool:
        """Whether each request selects the language of its response."""
        return "django.middleware.locale.LocaleMiddleware" in settings.MIDDLEWARE

    @property
    def SCRIPT_NAME(self) -> str:
        """Django's FORCE_SCRIPT_NAME without the slash at its end."""
        return (settings.FORCE_SCRIPT_NAME or "").rstrip("/")


def configured() -> dict[str, Any]:
    """Return the project's `JOB_EVENTS`; empty if it is missing or not a dict."""
    try:
        value = raw_setting()
    except ImproperlyConfigured:
        return {}
    return value if isinstance(value, dict) else {}


def raw_setting() -> object:
    """Return the unchecked value of `JOB_EVENTS`."""
    return getattr(settings, SETTING, {})


def is_in_installed_apps(package: str) -> bool:
    """Return whether INSTALLED_APPS has an entry in a top-level package."""
    return any(entry.partition(".")[0] == package for entry in settings.INSTALLED_APPS)


def is_debug() -> bool:
    """Return the setting DEBUG."""
    return bool(settings.DEBUG)


def asgi_path() -> str:
    """Return ASGI_APPLICATION, or the path that `startproject` gives the application.

    Settings may have no ROOT_URLCONF, and it may be a module outside of packages.
    """
    package = (getattr(settings, "ROOT_URLCONF", None) or "").rpartition(".")[0]
    usual = f"{package}.asgi.application".lstrip(".")
    return getattr(settings, "ASGI_APPLICATION", None) or usual


def secrets_of_settings() -> Iterator[str]:
    """Yield the secret key, and the passwords of Redis and of the databases."""
    try:
        password = urlsplit(event_settings.REDIS_URL).password or ""
    except ValueError:
        password = ""
    databases: list[Any] = [each.get("PASSWORD") for each in settings.DATABASES.values()]
    for secret in (password, unquote(password), settings.SECRET_KEY, *databases):
        if isinstance(secret, str):
            yield secret


event_settings: Final = EventSettings()
