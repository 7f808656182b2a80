"""Columns for cursors, and for what can be searched."""

import struct
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from events.exceptions import InvalidCursor
from events.types import Cursor

# Big-endian, so that bytes sort as the ids do; SQL has no unsigned number of 64 bits.
_PAIR: Final = struct.Struct(">QQ")

# Django's class takes these parameters only in the eyes of a type checker.
if TYPE_CHECKING:
    _Field = models.Field[Cursor | str | None, Any]
    _TermsBase = models.Field[str | None, str | None]
else:
    _Field = _TermsBase = models.Field


class CursorField(_Field):
    """A Cursor as 16 bytes that sort as event ids do, on every database."""

    description = "The id of an event, <ms>-<seq>"

    def get_internal_type(self) -> str:
        """Stored as what Django stores bytes as."""
        return "BinaryField"

    def get_db_prep_value(
        self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> Any:
        """The bytes that are stored; takes a Cursor or an id as text."""
        if value is None:
            return None
        # A migration knows a Cursor as the tuple that it is.
        cursor = Cursor(*value) if isinstance(value, tuple) else Cursor.parse(value)
        database: Any = connection
        return database.Database.Binary(pack(cursor))

    def from_db_value(self, value: Any, *_args: Any) -> Cursor | None:
        """The Cursor of stored bytes."""
        return None if value is None else unpack(value)

    def to_python(self, value: Any) -> Cursor | None:
        """A Cursor of what a form or a fixture has."""
        try:
            return None if value is None else Cursor.parse(value)
        except InvalidCursor as error:
            raise ValidationError(str(error)) from error

    def value_to_string(self, obj: models.Model) -> str:
        """An id as text, for fixtures."""
        return str(self.value_from_object(obj))


class TermsField(_TermsBase):
    """The terms of an event (events.archive.filters), as text with spaces between them.

    On PostgreSQL a tsvector, of which there is an inverted index; on SQLite text, of which the
    full-text table `job_events_terms` is the index (events/migrations/0002).
    """

    description = "The terms of an event"

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        """The type of the column."""
        return "tsvector" if connection.vendor == "postgresql" else "text"


def pack(cursor: Cursor) -> bytes:
    """The 16 bytes of a cursor."""
    return _PAIR.pack(*cursor)


def unpack(value: bytes) -> Cursor:
    """The cursor of 16 bytes."""
    return Cursor(*_PAIR.unpack(value))


def unpack_id(value: bytes) -> str:
    """The event's id of 16 bytes."""
    return "%d-%d" % _PAIR.unpack(value)  # noqa: UP031 - the fastest


def pack_id(event_id: str) -> bytes:
    """The 16 bytes of an event's id."""
    ms, _, seq = event_id.partition("-")
    return _PAIR.pack(int(ms), int(seq))
