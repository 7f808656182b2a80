"""A database that fails."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import InterfaceError, InternalError, OperationalError, connection
from django.db.backends.utils import CursorWrapper

# As Django raises them for a locked database, a closed connection, and a read-only transaction.
ERRORS = (
    OperationalError("connection to server at db.internal failed: database is locked"),
    InterfaceError("connection to db.internal already closed"),
    InternalError("db.internal: cannot execute INSERT in a read-only transaction"),
)


@contextmanager
def failing_database(
    error: Exception = ERRORS[0], applies: Callable[[str], bool] = lambda _sql: True
) -> Iterator[None]:
    """Let the queries of this process raise an error for which `applies` to the statement."""
    execute = CursorWrapper.execute

    def failing(self: Any, sql: str, params: Any = None) -> Any:
        if applies(sql):
            raise error
        return execute(self, sql, params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CursorWrapper, "execute", failing)
        yield


@contextmanager
def read_only_database() -> Iterator[None]:
    """Let the server refuse the writes of this thread, as after a failover to a standby."""
    if connection.vendor == "postgresql":
        setting = "SET default_transaction_read_only = {}"
    else:
        setting = "PRAGMA query_only = {}"
    with connection.cursor() as cursor:
        cursor.execute(setting.format("on"))
        yield
        cursor.execute(setting.format("off"))
