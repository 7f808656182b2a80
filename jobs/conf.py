"""The settings table of jobs/: the keys of `JOB_EVENTS` that this app reads."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from events.conf import (
    DAY_SECONDS,
    Rule,
    Setting,
    SettingsTable,
    count,
    duration,
    is_number,
    seconds,
)

# A shorter WORKER_TIMEOUT would declare workers dead that are busy for a moment.
MIN_WORKER_TIMEOUT_SECONDS: Final = 3
# A shorter AUTO_CANCEL_SECONDS would cancel jobs whose subscriber is reconnecting.
MIN_AUTO_CANCEL_SECONDS: Final = 15
_CENTURY_DAYS: Final = 36_525
# The cost of any number of tokens is finite: JSON columns do not accept infinity.
_MAX_PRICE: Final = 10**9


def is_runner(value: object) -> bool:
    """Return whether `value` is a task of a queue or another callable."""
    return callable(value) or hasattr(value, "apply_async") or hasattr(value, "enqueue")


def _is_callable_or_path(value: object) -> bool:
    if isinstance(value, str):
        try:
            value = import_string(value)
        except (ImportError, ValueError):
            return False
    return callable(value)


def _is_kept(value: object) -> bool:
    limits = {"days": duration(_CENTURY_DAYS), "events": count}
    if not isinstance(value, Mapping) or not value:
        return False
    return all(name in limits and limits[name].holds(each) for name, each in value.items())


def is_price(item: tuple[Any, Any]) -> bool:
    """Return whether a model and its price are valid in MODEL_PRICES."""
    model, price = item
    is_complete = isinstance(price, Mapping) and set(price) == {"input", "output"}
    return (
        isinstance(model, str)
        and is_complete
        and all(is_number(each, most=_MAX_PRICE) for each in price.values())
    )


def _is_site(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        url = urlsplit(value)
    except ValueError:
        return False
    is_site = url.scheme in ("http", "https") and bool(url.hostname) and "@" not in url.netloc
    return not value or (is_site and url.path in ("", "/") and not url.query and not url.fragment)


def _by_task_type(rule: Rule) -> Rule:
    def holds(value: object) -> bool:
        return isinstance(value, Mapping) and all(
            isinstance(name, str) and rule.holds(each) for name, each in value.items()
        )

    return Rule(f"a dict of task_type to: {rule.allowed}", holds)


_runner: Final = Rule(
    "a task of a queue, a callable, the dotted path of one, or a dict with the key `run`",
    lambda value: isinstance(value, str | Mapping) or is_runner(value),
)
_callable: Final = Rule("a callable, or the dotted path of one", _is_callable_or_path)
_kept: Final = Rule("`{'days': number, 'events': integer}`, either or both, above 0", _is_kept)
_chat_model: Final = Rule(
    "'provider:model', 'offline:seconds per token', or empty",
    lambda value: isinstance(value, str) and (not value or ":" in value[1:-1]),
)
_boolean: Final = Rule("True or False", lambda value: isinstance(value, bool))
_auto_cancel: Final = seconds(MIN_AUTO_CANCEL_SECONDS, DAY_SECONDS // 2)
_timeout: Final = duration(_CENTURY_DAYS * DAY_SECONDS)
_optional_timeout: Final = Rule(
    f"{_timeout.allowed}; or None", lambda value: value is None or _timeout.holds(value)
)


_days: Final = Rule(f"days, above 0, at most {_CENTURY_DAYS}", duration(_CENTURY_DAYS).holds)
_prices: Final = Rule(
    f"a dict of model to `{{'input': number, 'output': number}}`, at most {_MAX_PRICE}",
    lambda value: isinstance(value, Mapping) and all(map(is_price, value.items())),
)
_text: Final = Rule("a string", lambda value: isinstance(value, str))
_secret: Final = Rule(_text.allowed, _text.holds, is_secret=True)
_by_name: Final = Rule(
    "a dict of name to a dict",
    lambda value: (
        isinstance(value, Mapping) and all(isinstance(each, Mapping) for each in value.values())
    ),
    is_secret=True,
)
_site: Final = Rule("`https://` or `http://` and a host, or empty", _is_site)


class JobSettings(SettingsTable):
    """The keys of `JOB_EVENTS` that jobs/ reads, and values of Django's own settings."""

    RUNNERS = Setting[Mapping[str, Any]](
        {}, _by_task_type(_runner), "E020", "runners, called with `(job_id, **payload)`"
    )
    MAX_PAYLOAD_BYTES = Setting(1024 * 1024, count, "E021", "maximum payload size in bytes of JSON")
    CHAT_MODEL = Setting("", _chat_model, "E022", "chat model of `jobs.tasks`; empty: offline")
    LOGIN_TIMEOUT = Setting(5.0, duration(), "E026", "time limit for authenticating a socket")
    RECHECK_LOGINS = Setting(4.0, duration(), "E027", "interval of login checks")
    RECHECK_JOBS = Setting(60.0, duration(), "E028", "interval of `VISIBLE_JOBS` checks")
    MAX_SUBSCRIPTIONS = Setting(100, count, "E029", "maximum number of jobs on one connection")
    VISIBLE_JOBS = Setting[Any](
        "jobs.selectors.own_jobs", _callable, "E030", "`QuerySet` of jobs that a user may see"
    )
    RETENTION = Setting[Mapping[str, Mapping[str, Any]]](
        {}, _by_task_type(_kept), "E031", "events that `prune_events` keeps; `*` for other types"
    )
    WORKER_TIMEOUT = Setting(
        30.0, seconds(MIN_WORKER_TIMEOUT_SECONDS), "E032", "time to live of a worker's heartbeat"
    )
    QUEUE_TIMEOUT = Setting[float | None](
        86400.0, _optional_timeout, "E033", "time limit for a worker to start a job's next task"
    )
    RUN_TIMEOUT = Setting[Mapping[str, float | None]](
        {"*": 86400.0},
        _by_task_type(_optional_timeout),
        "E037",
        "time limit for finishing a job whose worker sends no heartbeats; `*` for other types",
    )
    AUTO_CANCEL_SECONDS = Setting[Mapping[str, float]](
        {}, _by_task_type(_auto_cancel), "E034", "time without subscribers until a job is cancelled"
    )

    MAY_START = Setting[Any](
        "jobs.selectors.has_start_permission",
        _callable,
        "E035",
        "`(user, task_type)`: whether a user may start such jobs by the API and the page",
    )
    JOBS_WITHOUT_RUNNER = Setting(
        False, _boolean, "E036", "permits the API to create jobs whose task_type has no runner"
    )
    SAMPLE_DAYS = Setting(14.0, _days, "E050", "days for which samples are kept")
    STUCK_SECONDS = Setting(
        600.0, duration(), "E051", "time without events and heartbeats after which a job is stuck"
    )
    MODEL_PRICES = Setting[Mapping[str, Mapping[str, float]]](
        {}, _prices, "E052", "prices of a million tokens, by the name of a model or its start"
    )
    CURRENCY = Setting("USD", _text, "E053", "currency of MODEL_PRICES")
    METRICS_TOKEN = Setting(
        "", _secret, "E054", "bearer token for `/metrics`; empty: only users with `view_monitor`"
    )
    ALERT_RULES = Setting[Mapping[str, Mapping[str, Any]]](
        {}, _by_name, "E055", "alert rules by name, besides those in the admin"
    )
    ALERT_CHANNELS = Setting[Mapping[str, Mapping[str, Any]]](
        {}, _by_name, "E056", "channels of alert messages by name"
    )
    ALERT_GROUP_WAIT = Setting(
        30.0, seconds(0), "E057", "time for which alerts of a rule are collected into a message"
    )
    ALERT_GROUP_INTERVAL = Setting(
        300.0, seconds(0), "E058", "least time between two messages about a rule"
    )
    SITE_URL = Setting("", _site, "E059", "scheme and host of the pages, for links in messages")

    @property
    def SESSION_ENGINE(self) -> str:
        return settings.SESSION_ENGINE

    @property
    def LOGIN_URL(self) -> str:
        return str(settings.LOGIN_URL)

    @property
    def CSRF_HEADER(self) -> str:
        """Name of the HTTP header that carries the CSRF token."""
        return str(settings.CSRF_HEADER_NAME).removeprefix("HTTP_").replace("_", "-")


job_settings: Final = JobSettings()


def run_timeout(task_type: str) -> float | None:
    """Return RUN_TIMEOUT of a task_type in seconds; None if it has none."""
    timeouts = job_settings.RUN_TIMEOUT
    return timeouts.get(task_type, timeouts.get("*"))


user_model: Final = settings.AUTH_USER_MODEL


def has_routes() -> bool:
    """Return whether the project has URLs; the settings of a worker may have none."""
    return bool(getattr(settings, "ROOT_URLCONF", None))


def optional_route(name: str, **kwargs: Any) -> str | None:
    """Return the path of a route; None if the project does not include it."""
    try:
        return reverse(name, kwargs=kwargs) if has_routes() else None
    except NoReverseMatch:
        return None
