"""System checks of settings; with `--database` also of the log, with `--deploy` of Redis."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import django.db
from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, Info, Warning  # noqa: A004 - Django's name
from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.db.models import Model

from events.archive.ownership import check_owner
from events.conf import SETTING, EventSettings, Rule, SettingsTable, configured, raw_setting
from events.database import sqlite_faults, write_alias, write_connection
from events.exceptions import EventsError, StreamsOwned
from events.models import EventLog
from events.processor.status import (
    ALIVE_SECONDS,
    is_running,
    outbox_status,
    redis_memory,
    stalled_checkpoints,
)
from events.streams.clients import check_clients
from events.streams.memory import SAFE_POLICY
from events.types import shown

SQLITE_OPTIONS: Final = (
    '{"transaction_mode": "IMMEDIATE", "timeout": 20,'
    ' "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"}'
)

# Checks that contact Redis. They are deployment checks, so that `migrate` does not run them.
REDIS_TAG: Final = "redis"
OWNER_HINT: Final = (
    "Use another STREAM_PREFIX or Redis database. If this database replaces the other one, run"
    " `manage.py process_events --take-over` once."
)


def check_settings(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - signature of a system check
    **_kwargs: Any,
) -> list[CheckMessage]:
    """Check that JOB_EVENTS is a dict, and the keys that events/ reads."""
    raw = raw_setting()
    if not isinstance(raw, dict):
        message = f"{SETTING} is of the type {type(raw).__name__}."
        return [Error(message, hint="It must be a dict of settings.", id="job_events.E001")]
    return invalid_settings(EventSettings)


def invalid_settings(table: type[SettingsTable]) -> list[CheckMessage]:
    """Return an error for each configured key of the table whose value breaks its rule."""
    given = configured()
    return [
        Error(
            f"{SETTING}[{name!r}] is {_described(given[name], setting.rule)}.",
            hint=f"It must be {setting.rule.allowed}.",
            id=setting.check_id,
        )
        for name, setting in table.table().items()
        if name in given and not setting.rule.holds(given[name])
    ]


def _described(value: object, rule: Rule) -> str:
    return "not valid" if rule.is_secret else shown(value)


def check_database(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - signature of a system check
    **_kwargs: Any,
) -> list[CheckMessage]:
    """Check that all models of events/ are in one database."""
    return misplaced_models(apps.get_app_config("job_events").get_models())


def misplaced_models(models: Iterable[type[Model]]) -> list[CheckMessage]:
    """Return an error for each model that a router writes to another database than the log."""
    return [
        Error(
            f"{model._meta.label} is written to the database {router.db_for_write(model)!r}, the"  # noqa: SLF001 - documented by Django
            f" log to {write_alias()!r}.",
            hint="A router must select one database for the models of `events` and `jobs` and the"
            " user model: they are written in one transaction, and have relations.",
            id="job_events.E041",
        )
        for model in models
        if router.db_for_write(model) != write_alias()
    ]


def check_processing(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - signature of a system check
    databases: Sequence[str] | None = None,
    **_kwargs: Any,
) -> list[CheckMessage]:
    """Warn if no processor is running and if logs are stalled.

    Reports nothing without the tables or the database: other checks do.
    """
    if write_alias() not in (databases or ()):
        return []
    try:
        return [*_not_running(), *_stalled()]
    except django.db.Error:
        return []


def _not_running() -> Iterator[CheckMessage]:
    if is_running() or not EventLog.objects.exists():
        return
    outbox = outbox_status()
    pending = f"{outbox.depth} events are in the outbox" if outbox.late else "logs must be archived"
    yield Warning(
        f"process_events is not running: no heartbeat for {ALIVE_SECONDS} seconds, and {pending}.",
        hint="Start `manage.py process_events` and keep it running.",
        id="job_events.W010",
    )


def _stalled() -> Iterator[CheckMessage]:
    stalled = stalled_checkpoints()
    first = stalled.order_by("failed_at", "pk").values_list("log__job_id", "error").first()
    if first is None:
        return
    job_id, error = first
    yield Warning(
        f"Logs that cannot be archived: {stalled.count()}. Job {job_id}: {error}",
        hint="`manage.py process_events --status` and the admin list all of them.",
        id="job_events.W011",
    )


def check_sqlite(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - signature of a system check
    databases: Sequence[str] | None = None,
    **_kwargs: Any,
) -> list[CheckMessage]:
    """Warn if the log is in an SQLite file that several processes cannot write."""
    connection = write_connection()
    is_checked = connection.alias in (databases or ()) and connection.vendor == "sqlite"
    if not is_checked or connection.is_in_memory_db():  # of tests
        return []
    try:
        faults = "; ".join(sqlite_faults(connection))
    except django.db.Error:
        return []
    if not faults:
        return []
    message = f"The SQLite database {connection.alias!r}: {faults}."
    hint = f"Set DATABASES[{connection.alias!r}]['OPTIONS'] = {SQLITE_OPTIONS}."
    return [Warning(message, hint=hint, id="job_events.W013")]


def check_redis(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - signature of a system check
    **_kwargs: Any,
) -> list[CheckMessage]:
    """Check the clients, that Redis evicts nothing and accepts events, and who archives them."""
    try:
        check_clients()
    except ImproperlyConfigured as error:
        hint = "The factory must return a new client of redis-py that uses masters only."
        return [Error(str(error), hint=hint, id="job_events.E016")]
    except EventsError:
        pass  # reported below
    memory = redis_memory()
    messages: list[CheckMessage] = []
    if not memory.policy:
        message = "The memory settings of Redis were not checked: INFO has no reply."
        hint = "Check REDIS_URL and the ACL of its user."
        messages.append(Info(message, hint=hint, id="job_events.I012"))
    if memory.error:
        return messages
    if memory.eviction:
        hint = f"Run `CONFIG SET maxmemory-policy {SAFE_POLICY}`, and set it in redis.conf."
        messages.append(Error(memory.eviction, hint=hint, id="job_events.E040"))
    if memory.refusal:
        hint = "`manage.py process_events --status` shows since when."
        messages.append(Warning(memory.refusal, hint=hint, id="job_events.W012"))
    return [*messages, *_owned_streams()]


def _owned_streams() -> Iterator[CheckMessage]:
    try:
        check_owner()
    except StreamsOwned as error:
        yield Error(str(error), hint=OWNER_HINT, id="job_events.E042")
    except (EventsError, django.db.Error):
        return  # the database is not migrated, or Redis does not answer
