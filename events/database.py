"""The database of the apps: its alias, transactions, clock and errors, and its connections.

All models of events/ and jobs/ are read and written in the database that a router selects for
writing: a replica may not have what was just committed.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, TypeVar, cast

from django.apps import apps
from django.db import (
    InterfaceError,
    InternalError,
    OperationalError,
    connections,
    router,
    transaction,
)
from django.db.models import DateTimeField, Manager, Model, QuerySet, Value
from django.db.models.functions import Now
from django.utils import timezone

M = TypeVar("M", bound=Model)
V = TypeVar("V", bound=Callable[..., Any])

# Raised while the database is locked, full, read-only, too slow or unreachable.
UNAVAILABLE: Final = (OperationalError, InterfaceError, InternalError)
# The default of 5 seconds is short beside busy workers.
MIN_SQLITE_TIMEOUT_MS: Final = 10_000
_READ_ONLY: Final = "25006"  # SQLSTATE read_only_sql_transaction of PostgreSQL


def is_unavailable(error: Exception) -> bool:
    """Whether the database fails, not one statement: InternalError is raised for both."""
    sqlstate = getattr(error.__cause__, "sqlstate", None)
    return isinstance(error, (OperationalError, InterfaceError)) or sqlstate == _READ_ONLY


class PrimaryManager(Manager[M]):
    """Manager that reads from the database that a router selects for writing."""

    def get_queryset(self) -> QuerySet[M]:
        rows = super().get_queryset()
        return rows if self._db else rows.using(router.db_for_write(self.model))


def primary_rows(model: type[M]) -> QuerySet[M]:
    """Return the rows of a model of the project, in the database where they are written."""
    manager = model._default_manager  # noqa: SLF001 - documented by Django
    return manager.using(router.db_for_write(model))


def write_alias() -> str:
    """Return the alias of the database of the apps."""
    return router.db_for_write(apps.get_model("job_events", "EventLog"))


def write_connection() -> Any:
    """Return this thread's connection to the database of the apps."""
    return connections[write_alias()]


def atomic(*, savepoint: bool = True) -> transaction.Atomic:
    """Return `transaction.atomic` in the database of the apps."""
    return transaction.atomic(using=write_alias(), savepoint=savepoint)


def on_commit(function: Callable[[], object]) -> None:
    """Call a function when the transaction in the database of the apps commits."""
    transaction.on_commit(function, using=write_alias())


def non_atomic(view: V) -> V:
    """Return a view to which the ATOMIC_REQUESTS of no database applies."""
    for alias in connections:
        view = transaction.non_atomic_requests(alias)(view)
    return view


def database_now() -> datetime:
    """Return the time of the database's clock; on SQLite, of the machine's.

    Processes write and compare shared times by this clock: those of their machines may differ.
    """
    if write_connection().vendor != "postgresql":
        return timezone.now()
    with write_connection().cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
        return now


def column_time(time: datetime) -> datetime:
    """Return an aware time as columns have it: without USE_TZ, naive in the time zone of Django."""
    is_aware = timezone.is_aware(timezone.now())
    return time if is_aware else timezone.make_naive(time, timezone.get_default_timezone())


def aware_time(time: datetime) -> datetime:
    """Return the time of a column with its offset."""
    is_aware = timezone.is_aware(time)
    return time if is_aware else timezone.make_aware(time, timezone.get_default_timezone())


def now_expression() -> Now | Value:
    """Return `database_now()` as an expression, which needs no query of its own."""
    if write_connection().vendor == "postgresql":
        return Now()
    return Value(timezone.now(), output_field=DateTimeField())


def close_connections() -> None:
    """Close this thread's connections outside of transactions; the next query opens new ones."""
    for each in connections.all(initialized_only=True):
        if not each.in_atomic_block:
            each.close()


def release_connections() -> None:
    """Return this thread's connections of a pool to it: other threads need them meanwhile."""
    for each in connections.all(initialized_only=True):
        if getattr(each, "pool", None) and not each.in_atomic_block:
            each.close()


def close_before_fork() -> None:
    """Close this thread's connections, and pools, so that a child process inherits none."""
    for each in connections.all(initialized_only=True):
        each.close()
        if getattr(each, "pool", None):
            cast(Any, each).close_pool()


def close_unusable_connections() -> None:
    """Close this thread's connections that the server has closed, for example after hours idle."""
    for each in connections.all(initialized_only=True):
        is_open = each.connection is not None and not each.in_atomic_block
        if is_open and not each.is_usable():
            each.close()


def locks_at_begin() -> bool:
    """Return whether BEGIN takes the write lock, as SQLite does with this `transaction_mode`."""
    mode = getattr(write_connection(), "transaction_mode", None)
    return str(mode).upper() in {"IMMEDIATE", "EXCLUSIVE"}


def sqlite_faults(connection: Any) -> Iterator[str]:
    """Yield why several processes cannot use an SQLite database well."""
    if connection.is_in_memory_db():
        yield "the database is in the memory of one process"
        return
    with connection.cursor() as cursor:
        (mode,) = cursor.execute("PRAGMA journal_mode").fetchone()
        (timeout,) = cursor.execute("PRAGMA busy_timeout").fetchone()
    if mode != "wal":
        yield f"the journal_mode is {mode}: readers and writers wait for each other"
    if timeout < MIN_SQLITE_TIMEOUT_MS:
        yield f"the timeout is {timeout} ms: writers fail instead of waiting"
    if str(connection.transaction_mode).upper() != "IMMEDIATE":
        yield "the transaction_mode is not IMMEDIATE: a transaction may fail at its first write"
