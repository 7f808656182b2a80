"""Checks of the database of the log."""

from collections.abc import Iterator
from contextlib import suppress
from time import perf_counter
from typing import Any, Final

from django.db.migrations.executor import MigrationExecutor

from events.database import atomic, sqlite_faults, write_connection
from events.doctor.checks import CONNECTION_SECONDS, TABLES, Check, Examination
from events.doctor.findings import Finding, error, ok, warning
from events.doctor.round_trip import temporary_job_id
from events.models import EventLog

MAX_CONNECTION_SHARE: Final = 0.8
_LABELS: Final = ("job_events", "job_events_jobs")


def check_connection(_examination: Examination) -> Finding:
    """The database answers a query."""
    connection = write_connection()
    with connection.cursor() as cursor:
        start = perf_counter()
        cursor.execute("SELECT 1")
        cursor.fetchone()
        seconds = perf_counter() - start
        version = _version(connection)
    return ok(f"{version} responds in {seconds * 1000:.1f} ms.")


def _version(connection: Any) -> str:
    numbers = connection.get_database_version()
    return f"{connection.display_name} {'.'.join(map(str, numbers))}"


def check_migrations(_examination: Examination) -> Finding:
    """All migrations are applied."""
    executor = MigrationExecutor(write_connection())
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    names = [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
    ours = [name for name in names if name.partition(".")[0] in _LABELS]
    if ours:
        return error(f"Not applied: {', '.join(ours)}.")
    if names:
        return warning(f"Not applied, of other apps: {', '.join(names)}.")
    return ok("All are applied.")


def check_settings(_examination: Examination) -> Finding:
    """The database is used as many processes need it."""
    connection = write_connection()
    faults = {"sqlite": sqlite_faults, "postgresql": _postgresql_faults}.get(connection.vendor)
    if faults is None:
        return warning(f"{connection.display_name} is not tested.", "Use PostgreSQL or SQLite.")
    found = list(faults(connection))
    return warning("; ".join(found) + ".") if found else ok("As recommended.")


def _postgresql_faults(connection: Any) -> Iterator[str]:
    options = connection.settings_dict["OPTIONS"]
    if not options.get("connect_timeout"):
        yield "there is no connect_timeout: a server that has stopped occupies threads"
    used, limit = map(int, (_value(connection, _USED), _value(connection, "SHOW max_connections")))
    if used >= MAX_CONNECTION_SHARE * limit:
        yield f"{used} of {limit} connections are in use"
    if (level := _value(connection, "SHOW transaction_isolation")) != "read committed":
        yield f"the isolation level is {level}: concurrent transitions of a job fail"


_USED: Final = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"


def _value(connection: Any, sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


class _Rollback(Exception):
    """Undoes the write."""


def check_writes(_examination: Examination) -> Finding:
    """The database accepts a row, which is rolled back."""
    start = perf_counter()
    with suppress(_Rollback), atomic():
        EventLog.objects.create(job_id=temporary_job_id())
        raise _Rollback
    return ok(f"A row was inserted and rolled back in {(perf_counter() - start) * 1000:.1f} ms.")


_CONNECTION: Final = ("database-connection",)

CHECKS: Final = (
    Check(
        "database-connection",
        check_connection,
        "Start the database server, or correct DATABASES.",
        seconds=CONNECTION_SECONDS,
    ),
    Check("database-migrations", check_migrations, "Run `manage.py migrate`.", _CONNECTION),
    Check("database-settings", check_settings, "Set OPTIONS of DATABASES.", _CONNECTION),
    Check("database-writes", check_writes, "Resolve the error of the database.", TABLES),
)
