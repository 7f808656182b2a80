"""System checks that ask the database: `manage.py check --database default`."""

from collections.abc import Iterator, Sequence
from typing import Any

import django.db
from django.apps import AppConfig
from django.core.checks import CheckMessage, Warning  # noqa: A004 - Django's name for it
from django.db import router

from events.models import EventLog, Processor
from events.processor.status import ALIVE_SECONDS, is_running, outbox_status, stalled_positions


def check_processing(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - the signature of a check
    databases: Sequence[str] | None = None,
    **_kwargs: Any,
) -> list[CheckMessage]:
    """Warn if nothing processes the log, and if logs are stalled.

    Silent where the tables are not there, or the database is not: other checks say that.
    """
    messages: list[CheckMessage] = []
    for alias in databases or ():
        if not router.allow_migrate_model(alias, Processor):
            continue
        try:
            messages += [*_not_running(alias), *_stalled(alias)]
        except django.db.Error:
            continue
    return messages


def _not_running(alias: str) -> Iterator[CheckMessage]:
    if is_running(alias) or not EventLog.objects.using(alias).exists():
        return
    outbox = outbox_status(alias)
    yield Warning(
        f"process_events is not running: none was seen for {ALIVE_SECONDS} seconds, and "
        + (
            f"events wait in the outbox: {outbox.depth}."
            if outbox.late
            else "there are logs to archive."
        ),
        hint="Start `manage.py process_events`, and keep it running.",
        id="job_events.W010",
    )


def _stalled(alias: str) -> Iterator[CheckMessage]:
    stalled = stalled_positions(alias)
    first = stalled.order_by("failed_at", "pk").values_list("log__job_id", "error").first()
    if first is None:
        return
    job_id, error = first
    yield Warning(
        f"Logs that cannot be archived: {stalled.count()}. That of job {job_id}: {error}",
        hint="`manage.py process_events --status` and the admin list them all.",
        id="job_events.W011",
    )
