"""The database's clock, its errors, and its connections in threads that outlive a request."""

from datetime import datetime
from typing import Final, cast

from django.db import InterfaceError, InternalError, OperationalError, connection, connections
from django.db.models import DateTimeField, Value
from django.db.models.functions import Now
from django.utils import timezone

# Raised while the database is locked, full, read-only, too slow or unreachable.
UNAVAILABLE: Final = (OperationalError, InterfaceError, InternalError)
_READ_ONLY: Final = "25006"  # SQLSTATE read_only_sql_transaction of PostgreSQL


def is_unavailable(error: Exception) -> bool:
    """Whether the database fails, not one statement: InternalError is raised for both."""
    sqlstate = getattr(error.__cause__, "sqlstate", None)
    return isinstance(error, (OperationalError, InterfaceError)) or sqlstate == _READ_ONLY


def database_now() -> datetime:
    """Return the time of the database's clock; on SQLite, of the machine's.

    Processes write and compare shared times by this clock: those of their machines may differ.
    """
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cast(datetime, cursor.fetchone()[0])


def now_expression() -> Now | Value:
    """Return `database_now()` as an expression, which needs no query of its own."""
    if connection.vendor == "postgresql":
        return Now()
    return Value(timezone.now(), output_field=DateTimeField())


def close_connections() -> None:
    """Close this thread's database connections; the next query opens new ones."""
    for each in connections.all(initialized_only=True):
        each.close()


def close_unusable_connections() -> None:
    """Close this thread's connections that the server has closed, for example after hours idle."""
    for each in connections.all(initialized_only=True):
        is_open = each.connection is not None and not each.in_atomic_block
        if is_open and not each.is_usable():
            each.close()
