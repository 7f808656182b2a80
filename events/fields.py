"""Model fields for cursors and search terms."""

import struct
from typing import TYPE_CHECKING, Any, Final

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from events.types import Cursor

# Big-endian, so that the bytes sort like ids. SQL has no unsigned 64-bit integer.
_PAIR: Final = struct.Struct(">QQ")

# Django's class takes these parameters only for type checkers.
if TYPE_CHECKING:
    _CursorBase = models.Field[Cursor | str | None, Any]
    _TermsBase = models.Field[str | None, str | None]
else:
    _CursorBase = _TermsBase = models.Field


class CursorField(_CursorBase):
    """A Cursor, stored as 16 bytes that sort like event ids on every database."""

    description = "Event id, <ms>-<seq>"

    def get_internal_type(self) -> str:
        return "BinaryField"

    def get_db_prep_value(
        self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> Any:
        if value is None:
            return None
        # In a migration, a default Cursor is a plain tuple.
        cursor = Cursor(*value) if isinstance(value, tuple) else Cursor.parse(value)
        database: Any = connection
        return database.Database.Binary(pack(cursor))

    def from_db_value(self, value: Any, *_args: Any) -> Cursor | None:
        return None if value is None else unpack(value)


class TermsField(_TermsBase):
    """Search terms (`events.archive.terms`), separated by spaces; `term_index` indexes them.

    A tsvector on PostgreSQL, text on SQLite.
    """

    description = "Search terms"

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "tsvector" if connection.vendor == "postgresql" else "text"


def pack(cursor: Cursor) -> bytes:
    """Convert a cursor to 16 bytes."""
    return _PAIR.pack(*cursor)


def unpack(value: bytes) -> Cursor:
    """Convert 16 bytes to a cursor."""
    return Cursor(*_PAIR.unpack(value))


def pack_id(event_id: str) -> bytes:
    """Convert an event id to 16 bytes."""
    ms, _, seq = event_id.partition("-")
    return _PAIR.pack(int(ms), int(seq))


def unpack_id(value: bytes) -> str:
    """Convert 16 bytes to an event id."""
    return "%d-%d" % _PAIR.unpack(value)  # noqa: UP031 - faster than an f-string
