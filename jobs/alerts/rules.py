"""Alert rules: the kinds and their parameters, and the rules of the setting and of the admin.

A rule of the setting ALERT_RULES replaces one of the admin with the same name.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from events.codec import replace_invalid
from events.conf import DAY_SECONDS, Rule, count, duration, is_number, seconds
from events.error_text import ErrorText
from events.processor.problems import PROBLEM_CODES
from events.translation import translated
from jobs.alerts.channels import channel_names
from jobs.conf import job_settings
from jobs.models import AlertRule

# The rules of a project whose setting defines none.
DEFAULT_RULES: Final[Mapping[str, Mapping[str, Any]]] = {"problems": {"kind": "problem"}}
PER_JOB: Final = "job"
# Without a database or a processor, no rule is evaluated.
REPORTED_CODES: Final = tuple(
    code for code in PROBLEM_CODES if code not in ("database-connection", "processors")
)

_NAME: Final = re.compile(r"[-a-zA-Z0-9_]{1,64}")
_MAX_NAME_CHARS: Final = 64
_MAX_TASK_TYPE_CHARS: Final = 100
_MAX_WINDOW_SECONDS: Final = 3600
_MAX_USAGE_WINDOW_SECONDS: Final = 7 * DAY_SECONDS
# Paths are those of event filters.
_PATH_START: Final = "data."
_REQUIRED: Final = object()


@dataclass(frozen=True, slots=True)
class RuleParameter:
    """A parameter of a kind; a default of None is documented in docs/reference.md."""

    rule: Rule
    default: Any = _REQUIRED

    @property
    def is_required(self) -> bool:
        return self.default is _REQUIRED


@dataclass(frozen=True, slots=True)
class RuleKind:
    """A kind of rules. `is_per_job`: the subjects of its alerts are job_ids."""

    parameters: Mapping[str, RuleParameter]
    is_per_job: bool = False


_days: Final = duration(30 * DAY_SECONDS)
_factor: Final = Rule(
    ErrorText("a number of at least 1"), lambda value: is_number(value) and value >= 1
)
_limit: Final = Rule(ErrorText("a number above 0"), lambda value: is_number(value) and value > 0)
_share: Final = Rule(
    ErrorText("a number above 0, at most 1"), lambda value: is_number(value, most=1) and value > 0
)
_window: Final = seconds(1, _MAX_WINDOW_SECONDS)
_usage_window: Final = seconds(60, _MAX_USAGE_WINDOW_SECONDS)
_codes: Final = Rule(
    ErrorText("a list of %(codes)s", codes=", ".join(REPORTED_CODES)),
    lambda value: isinstance(value, list | tuple) and all(each in REPORTED_CODES for each in value),
)
_per: Final = Rule(
    ErrorText("%(name)r, or %(window)s", name=PER_JOB, window=_usage_window.allowed),
    lambda value: value == PER_JOB or _usage_window.holds(value),
)
_text: Final = Rule(
    ErrorText("a non-empty string"), lambda value: isinstance(value, str) and bool(value)
)
_scalars: Final = Rule(
    ErrorText(
        "an object of path, `%(path)s…`, to a text, a number, true, false or null",
        path=_PATH_START,
    ),
    lambda value: (
        _is_object(value)
        and all(each is None or isinstance(each, str | int | float) for each in value.values())
    ),
)
_texts: Final = Rule(
    ErrorText("an object of path, `%(path)s…`, to a text", path=_PATH_START),
    lambda value: _is_object(value) and all(map(_text.holds, value.values())),
)


def _is_object(value: object) -> bool:
    paths = list(value) if isinstance(value, Mapping) else [None]
    return all(isinstance(path, str) and path.startswith(_PATH_START) for path in paths)


_USAGE: Final = RuleKind(
    {"limit": RuleParameter(_limit), "per": RuleParameter(_per, PER_JOB)}, is_per_job=True
)
KINDS: Final[Mapping[str, RuleKind]] = {
    "problem": RuleKind({"codes": RuleParameter(_codes, ())}),
    "failure_rate": RuleKind(
        {
            "threshold": RuleParameter(_share, 0.2),
            "window": RuleParameter(_window, 300),
            "min_count": RuleParameter(count, 10),
        }
    ),
    "stuck_job": RuleKind({"seconds": RuleParameter(_days, None)}, is_per_job=True),
    "no_first_event": RuleKind({"seconds": RuleParameter(_days, 60)}, is_per_job=True),
    "slow_job": RuleKind(
        {"factor": RuleParameter(_factor, 3.0), "min_count": RuleParameter(count, 20)},
        is_per_job=True,
    ),
    "missing_heartbeat": RuleKind(
        {"seconds": RuleParameter(_days, None), "window": RuleParameter(_window, 300)},
        is_per_job=True,
    ),
    "lag": RuleKind({"seconds": RuleParameter(_days, 60)}),
    "redis_memory": RuleKind({"share": RuleParameter(_share, 0.85)}),
    "tokens": _USAGE,
    "cost": _USAGE,
    "event": RuleKind(
        {
            "event_type": RuleParameter(_text),
            "equals": RuleParameter(_scalars, {}),
            "contains": RuleParameter(_texts, {}),
            "window": RuleParameter(_days, 3600),
        },
        is_per_job=True,
    ),
}

_MATCHED: Final = frozenset({"tokens", "cost", "event"})


@dataclass(frozen=True, slots=True)
class AlertDefinition:
    """A rule with all of its parameters; `error` says why it cannot be evaluated."""

    name: str
    kind: str
    task_type: str = ""
    for_seconds: float = 0
    channels: tuple[str, ...] = ()
    parameters: Mapping[str, Any] | None = None
    error: str = ""

    def __getitem__(self, parameter: str) -> Any:
        """Return the value of a parameter, or its default."""
        return (self.parameters or {}).get(
            parameter, KINDS[self.kind].parameters[parameter].default
        )

    @property
    def is_per_job(self) -> bool:
        """Whether the subjects of the alerts are job_ids."""
        kind = KINDS.get(self.kind)
        if kind is None or not kind.is_per_job:
            return False
        return "per" not in kind.parameters or self["per"] == PER_JOB

    @property
    def is_matched(self) -> bool:
        """Whether the projection records the jobs that meet the condition."""
        return not self.error and self.kind in _MATCHED and self.is_per_job


def rule_errors(name: object, entry: object) -> Iterator[str]:
    """Yield what is wrong with a rule in the format of ALERT_RULES, and what is allowed."""
    if not isinstance(entry, Mapping):
        yield ErrorText("It must be a dict.")
        return
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        yield ErrorText("%(name)r is not a name: at most 64 letters, digits, _ and -.", name=name)
    kind = entry.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        yield ErrorText(
            "The kind %(kind)r is unknown. The kinds are: %(kinds)s.",
            kind=kind,
            kinds=", ".join(KINDS),
        )
        return
    yield from _common_errors(entry)
    known = KINDS[kind].parameters
    given = _parameters(entry)
    if unknown := [str(each) for each in given if each not in known]:
        allowed = ", ".join((*known, *_COMMON, "channels"))
        yield ErrorText(
            "Unknown parameters: %(names)s. The parameters of %(kind)r: %(allowed)s.",
            names=", ".join(unknown),
            kind=kind,
            allowed=allowed,
        )
    for parameter, declared in known.items():
        if parameter not in given:
            if declared.is_required:
                yield ErrorText(
                    "%(kind)r requires %(name)r: %(allowed)s.",
                    kind=kind,
                    name=parameter,
                    allowed=declared.rule.allowed,
                )
        elif not declared.rule.holds(given[parameter]):
            yield _must_be(parameter, declared.rule)


_COMMON: Final[Mapping[str, Rule]] = {
    "task_type": Rule(
        ErrorText("a string of at most %(limit)d characters", limit=_MAX_TASK_TYPE_CHARS),
        lambda value: isinstance(value, str) and len(value) <= _MAX_TASK_TYPE_CHARS,
    ),
    "for": seconds(0),
}


_FIELDS: Final = ("kind", "channels", *_COMMON)


def _must_be(name: str, rule: Rule) -> ErrorText:
    return ErrorText("%(name)r must be %(allowed)s.", name=name, allowed=rule.allowed)


def _common_errors(entry: Mapping[str, Any]) -> Iterator[str]:
    for key, rule in _COMMON.items():
        if key in entry and not rule.holds(entry[key]):
            yield _must_be(key, rule)
    channels, known = entry.get("channels", ()), channel_names()
    if not isinstance(channels, list | tuple) or not all(each in known for each in channels):
        yield ErrorText("'channels' must be a list of: %(names)s.", names=", ".join(known))


def _parameters(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in entry if key not in _FIELDS}


def entry_of(row: AlertRule) -> dict[str, Any]:
    """Return a rule of the admin in the format of ALERT_RULES."""
    parameters = row.parameters if isinstance(row.parameters, dict) else {"parameters": None}
    common = {"task_type": row.task_type, "for": row.for_seconds, "channels": row.channels}
    return {**parameters, "kind": row.kind, **common}


def reserved_parameters(row: AlertRule) -> Iterator[str]:
    """Yield an error for each parameter of a rule of the admin that has a field of its own."""
    given = row.parameters if isinstance(row.parameters, dict) else {}
    yield from (
        ErrorText("%(name)r is a field, not a parameter.", name=name)
        for name in _FIELDS
        if name in given
    )


def definition_of(name: str, entry: Any) -> AlertDefinition:
    """Return the rule of an entry; one with errors has only a name and a kind.

    An entry of the setting may be of any type: system checks can be skipped.
    """
    if error := " ".join(map(translated, rule_errors(name, entry))):
        kind = str(entry.get("kind")) if isinstance(entry, Mapping) else ""
        # In the columns of the alert about the rule.
        name, kind, error = map(replace_invalid, (name, kind, error))
        return AlertDefinition(name[:_MAX_NAME_CHARS], kind, error=error)
    kind = entry["kind"]
    return AlertDefinition(
        name,
        kind,
        task_type=entry.get("task_type", ""),
        for_seconds=entry.get("for", 0),
        channels=tuple(entry.get("channels", ())),
        parameters=_parameters(entry),
    )


def stored_rules() -> list[AlertRule]:
    """Return the rules of the admin."""
    return list(AlertRule.objects.order_by("name"))


def setting_rules() -> Mapping[str, Any]:
    """Return the rules of the setting; a value that is not a dict is one invalid rule."""
    rules: object = job_settings.ALERT_RULES
    if not isinstance(rules, Mapping):
        return {"ALERT_RULES": rules}
    return {str(name): each for name, each in rules.items()}


def replaces_stored(name: str) -> bool:
    """Return whether the setting has a rule of this name: one of the admin is unused then."""
    return name in setting_rules()


def active_rules(rows: Iterable[AlertRule]) -> list[AlertDefinition]:
    """Return the rules to evaluate: those of the setting, and the enabled ones among the rows."""
    entries = dict(setting_rules())
    used = [row for row in rows if row.name not in entries]
    if not entries:  # a row may replace, or disable, a default
        names = {row.name for row in used}
        entries = {name: each for name, each in DEFAULT_RULES.items() if name not in names}
    entries |= {row.name: entry_of(row) for row in used if row.enabled}
    return [definition_of(name, entry) for name, entry in entries.items()]


def setting_errors() -> Sequence[str]:
    """Return what is wrong with the rules of the setting ALERT_RULES."""
    return [
        f"The rule {name!r}: {error}"
        for name, entry in job_settings.ALERT_RULES.items()
        for error in rule_errors(name, entry)
    ]
