"""The cards of the page "Health": label, value, threshold and runbook of each item."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from django.utils.formats import localize
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from events.processor.health import (
    CRITICAL,
    OK,
    UNKNOWN,
    WARNING,
    HealthItem,
    worst_state,
)
from events.processor.report import MIB, duration_text

STATE_LABELS: Final = {
    OK: gettext_lazy("OK"),
    WARNING: gettext_lazy("Warning"),
    CRITICAL: gettext_lazy("Critical"),
    UNKNOWN: gettext_lazy("Unknown"),
}
_LABELS: Final = {
    "processors": gettext_lazy("Processors"),
    "outbox": gettext_lazy("Outbox"),
    "archive": gettext_lazy("Archive backlog"),
    "redis": gettext_lazy("Redis"),
    "redis_memory": gettext_lazy("Redis memory"),
    "streams": gettext_lazy("Streams"),
    "database": gettext_lazy("Database"),
    "stalled_logs": gettext_lazy("Stalled logs"),
    "lost_events": gettext_lazy("Gaps in logs"),
    "alert_deliveries": gettext_lazy("Alert deliveries"),
}
# What is wrong in the state "warning", unless the item has a problem.
_WARNINGS: Final = {
    "processors": gettext_lazy("Of %(limit)s processes, %(value)s send heartbeats."),
    "redis_memory": gettext_lazy(
        "%(value)s of %(limit)s are in use. From %(threshold)s on, streams keep nothing archived."
    ),
    "outbox_age": gettext_lazy("The oldest event waits for %(value)s; the limit is %(threshold)s."),
    "archive_age": gettext_lazy(
        "The oldest event waits for %(value)s; the limit is %(threshold)s."
    ),
    "lost_events": gettext_lazy("Gaps found in 24 hours: %(value)s."),
}
_CONNECTIONS: Final = frozenset({"redis", "database"})
_AGES: Final = {"outbox": "outbox_age", "archive": "archive_age"}


@dataclass(frozen=True, slots=True)
class HealthCard:
    """An item, with the age that belongs to it, as texts."""

    label: str
    state: str
    word: str
    value: str
    limit: str
    runbook: str


def cards(items: list[HealthItem]) -> Iterator[HealthCard]:
    """Yield the cards in the order of the monitor; of an age, with the item that it belongs to."""
    found = {item.name: item for item in items}
    for name, label in _LABELS.items():
        if name not in found:
            continue
        item, age = found[name], found.get(_AGES.get(name, ""))
        state = worst_state([item, age] if age else [item])
        yield HealthCard(
            label=str(label),
            state=state,
            word=str(STATE_LABELS[state]),
            value=_value(item, age),
            limit=_limit(age or item),
            runbook="" if state == OK else item.runbook,
        )


def warnings(items: list[HealthItem], shown: set[str]) -> Iterator[tuple[str, HealthItem, str]]:
    """Yield label, item and text of what is wrong, except for the texts that are shown already."""
    for item in sorted(items, key=lambda each: each.state != CRITICAL):
        if (text := _detail(item)) and text not in shown:
            shown.add(text)
            yield str(_LABELS[item.name.removesuffix("_age")]), item, text


def _detail(item: HealthItem) -> str:
    if item.detail or item.state != WARNING or item.name not in _WARNINGS:
        return item.detail
    numbers = {"value": item.value, "limit": item.limit, "threshold": item.threshold}
    texts = {name: _quantity(item.name, number) for name, number in numbers.items()}
    return _WARNINGS[item.name] % texts


def _value(item: HealthItem, age: HealthItem | None) -> str:
    if item.name in _CONNECTIONS:
        return _("Failing") if item.state == CRITICAL else _("Connected")
    value = _quantity(item.name, item.value)
    if item.limit is not None and item.value is not None:
        return _("%(value)s of %(limit)s") % {
            "value": value,
            "limit": _quantity(item.name, item.limit),
        }
    if age is not None and age.value:
        return _("%(value)s, oldest %(age)s") % {"value": value, "age": duration_text(age.value)}
    return value


def _limit(item: HealthItem) -> str:
    if item.threshold is None:
        return ""
    if item.name == "processors":
        return _("at least %(limit)s") % {"limit": localize(item.threshold)}
    return _("threshold %(limit)s") % {"limit": _quantity(item.name, item.threshold)}


def _quantity(name: str, value: float | None) -> str:
    if value is None:
        return "?"
    if name in _AGES.values():
        return duration_text(value)
    return f"{value / MIB:.1f} MiB" if name == "redis_memory" else str(localize(int(value)))
