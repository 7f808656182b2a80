"""System checks of the settings of events/."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error

from events.conf import SETTING, EventSettings, SettingsTable, configured, raw_setting
from events.types import shown


def check_settings(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - signature of a system check
    **_kwargs: Any,
) -> list[CheckMessage]:
    """Check that JOB_EVENTS is a dict, and the keys that events/ reads."""
    raw = raw_setting()
    if not isinstance(raw, dict):
        message = f"{SETTING} is {raw!r}."
        return [Error(message, hint="It must be a dict of settings.", id="job_events.E001")]
    return invalid_settings(EventSettings)


def invalid_settings(table: type[SettingsTable]) -> list[CheckMessage]:
    """Return an error for each configured key of the table whose value breaks its rule."""
    given = configured()
    return [
        Error(
            f"{SETTING}[{name!r}] is {shown(given[name])}.",
            hint=f"It must be {setting.rule.allowed}.",
            id=setting.check_id,
        )
        for name, setting in table.table().items()
        if name in given and not setting.rule.holds(given[name])
    ]
