"""System checks of the settings of jobs/, of runners, and of unknown keys of JOB_EVENTS."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's name
from django.urls import NoReverseMatch, get_script_prefix, resolve, reverse

from events.checks import invalid_settings, misplaced_models
from events.conf import SETTING, EventSettings, configured
from jobs.alerts.channels import channel_errors
from jobs.alerts.rules import setting_errors
from jobs.conf import JobSettings, has_routes
from jobs.exceptions import JobError
from jobs.execution.dispatch import check_entry


def check_settings(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - signature of a system check
    **_kwargs: Any,
) -> list[CheckMessage]:
    """Check the keys that jobs/ reads, unknown keys, the runners and the database of the models."""
    models = [*apps.get_app_config("job_events_jobs").get_models(), get_user_model()]
    return [
        *invalid_settings(JobSettings),
        *_unknown_keys(),
        *_broken_runners(),
        *_broken_channels(),
        *_invalid_rules(),
        *misplaced_models(models),
    ]


def check_urls(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - signature of a system check
    **_kwargs: Any,
) -> list[CheckMessage]:
    """Warn if another route of the project, such as a catch-all of an SPA, precedes ours."""
    messages: list[CheckMessage] = []
    if not has_routes():
        return messages
    for name in ("job_events:list", "job_events:api-job-list"):
        try:
            url = reverse(name)
            found = resolve(url.removeprefix(get_script_prefix().rstrip("/")))
        except NoReverseMatch:  # not included, or in another namespace
            continue
        if found.view_name != name:
            messages.append(
                Warning(
                    f"The URL {url} leads to {found.view_name or found.func}, not to {name}.",
                    hint="Move include('jobs.urls') before that route in `urlpatterns`.",
                    id="job_events.W002",
                )
            )
    return messages


def _unknown_keys() -> Iterator[CheckMessage]:
    known = EventSettings.table() | JobSettings.table()
    for name in configured():
        if name not in known:
            yield Warning(
                f"{SETTING} has the unknown key {name!r}.",
                hint=f"The keys are: {', '.join(sorted(known))}.",
                id="job_events.W001",
            )


def _broken_runners() -> Iterator[CheckMessage]:
    runners = configured().get("RUNNERS", {})
    if JobSettings.table()["RUNNERS"].rule.holds(runners):
        for task_type in runners:
            try:
                check_entry(task_type)
            except JobError as error:
                yield Error(str(error), id="job_events.E025")


def _broken_channels() -> Iterator[CheckMessage]:
    setting = JobSettings.table()["ALERT_CHANNELS"]
    channels = configured().get("ALERT_CHANNELS", {})
    if setting.rule.holds(channels):
        for error in channel_errors(channels):
            yield Error(f"{SETTING}['ALERT_CHANNELS']: {error}", id=setting.check_id)


def _invalid_rules() -> Iterator[CheckMessage]:
    setting = JobSettings.table()["ALERT_RULES"]
    if setting.rule.holds(configured().get("ALERT_RULES", {})):
        for error in setting_errors():
            hint = 'docs/reference.md, "Alert rules", lists the kinds and their parameters.'
            yield Error(f"{SETTING}['ALERT_RULES'] {error}", hint=hint, id=setting.check_id)
