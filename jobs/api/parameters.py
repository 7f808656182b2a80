"""Query parameters and headers as serializer fields, and the kinds of their texts.

Each field parses its text, and describes itself to the OpenAPI schema.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from django.utils.timezone import make_aware
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from events.error_text import ErrorText
from events.translation import translated
from events.types import Cursor, shown
from jobs.validators import number_of

_MAX_TEXT_CHARACTERS: Final = 200
ONE_CURSOR: Final = "[0-9]{1,20}-[0-9]{1,20}"
_ONE_CURSOR: Final = f"(0|{ONE_CURSOR})"
_INTEGER: Final = re.compile(r"[0-9]{1,16}", re.ASCII)
_UNENCODED_PLUS: Final = re.compile(r" (\d{2}:?\d{2})\Z", re.ASCII)

# A JSON schema, or a function that returns one whose limit a setting defines.
Schema = Mapping[str, Any] | Callable[[], Mapping[str, Any]]


class Kind(NamedTuple):
    """The syntax of a text.

    `parse` returns its value, or raises ValueError with the text of the 400 response, which may be
    an ErrorText.
    """

    parse: Callable[[str], Any]
    schema: Schema


class Parameter(serializers.Field[Any, Any, Any, Any]):
    """A query parameter; with `header`, the request header of this name.

    A parameter with `array`, the schema of a list, may be repeated.
    """

    def __init__(
        self,
        kind: Kind,
        help_text: str,
        *,
        array: Schema | None = None,
        header: str = "",
        **options: Any,
    ) -> None:
        if not options.get("required"):
            options.setdefault("default", None)
        super().__init__(help_text=help_text, **options)
        self.kind, self.array, self.header = kind, array, header

    def to_internal_value(self, data: Any) -> Any:
        try:
            return self.kind.parse(data) if self.array is None else self._parse_all(data)
        except ValueError as error:
            raise ValidationError(translated(error)) from error

    def _parse_all(self, texts: list[str]) -> list[Any]:
        array = _current(self.array)
        if len(texts) > array["maxItems"]:
            text = _("At most %(limit)d values are allowed.")
            raise ValueError(text % {"limit": array["maxItems"]})
        if array.get("uniqueItems") and len(set(texts)) < len(texts):
            raise ValueError(_("The values must be different."))
        return [self.kind.parse(text) for text in texts]

    @property
    def openapi(self) -> dict[str, Any]:
        """The JSON schema of the parameter, with its default."""
        schema = _current(self.kind.schema)
        if self.array is not None:
            return {"type": "array", "items": schema, **_current(self.array)}
        default = None if self.required else self.get_default()
        return schema if default is None else {**schema, "default": default}


def _current(schema: Any) -> dict[str, Any]:
    return dict(schema() if callable(schema) else schema)


def number(lower: float, upper: float | Callable[[], float]) -> Kind:
    """Return the kind of a number within bounds; an integer if the lower bound is one.

    The upper bound may be a function, for a limit that a setting defines.
    """
    is_integer = isinstance(lower, int)
    maximum = upper if callable(upper) else lambda: upper

    def parse(digits: str) -> float:
        value = number_of(digits, lower, maximum())
        if value is not None and (not is_integer or _INTEGER.fullmatch(digits)):
            return int(digits) if is_integer else value
        text = (
            _("Must be an integer from %(least)s to %(most)s. Given: %(value)s.")
            if is_integer
            else _("Must be a number from %(least)s to %(most)s. Given: %(value)s.")
        )
        most = maximum() if is_integer else f"{maximum():g}"
        raise ValueError(text % {"least": f"{lower:g}", "most": most, "value": shown(digits)})

    def schema() -> Mapping[str, Any]:
        kind = "integer" if is_integer else "number"
        return {"type": kind, "minimum": lower, "maximum": maximum()}

    return Kind(parse, schema)


def matching(pattern: str, expected: ErrorText, **schema: Any) -> Kind:
    """Return the kind of a text that matches a regular expression; `expected` describes it."""

    def parse(value: str) -> str:
        if re.fullmatch(pattern, value):
            return value
        raise ValueError(_must_be(expected, value))

    return Kind(parse, {"type": "string", **(schema or {"pattern": f"^{pattern}$"})})


def _must_be(expected: ErrorText, value: str) -> ErrorText:
    return ErrorText(
        "Must be %(expected)s. Given: %(value)s.", expected=expected, value=shown(value)
    )


def choice(*choices: str) -> Kind:
    """Return the kind of one of several words."""
    expected = ErrorText("one of: %(choices)s", choices=", ".join(choices))
    return matching("|".join(choices), expected, enum=list(choices))


def text(min_length: int = 0) -> Kind:
    """Return the kind of a short text without NUL, which PostgreSQL cannot store."""
    pattern = rf"[^\x00]{{{min_length},{_MAX_TEXT_CHARACTERS}}}"
    expected = ErrorText(
        "%(least)d to %(most)d characters without NUL", least=min_length, most=_MAX_TEXT_CHARACTERS
    )
    return matching(pattern, expected)


def _parse_time(iso: str) -> datetime:
    """Parse ISO 8601; without an offset, in the time zone of the project."""
    try:
        # A client that does not encode "+" sends a space.
        given = datetime.fromisoformat(_UNENCODED_PLUS.sub(r"+\1", iso))
        return (given if given.tzinfo else make_aware(given)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        expected = ErrorText("a time in ISO 8601, such as 2026-11-22T10:00:00+00:00")
        raise ValueError(_must_be(expected, iso)) from error


def _parse_cursors(cursors: str) -> list[Cursor]:
    return [Cursor.parse(each) for each in cursors.split(",")]


ANY_TEXT: Final = Kind(str, {"type": "string"})
TIME: Final = Kind(_parse_time, {"type": "string", "format": "date-time"})
CURSOR: Final = Kind(
    Cursor.parse,
    {"type": "string", "pattern": f"^{_ONE_CURSOR}$", "example": "1795315967958-0"},
)
CURSORS: Final = Kind(
    _parse_cursors, {"type": "string", "pattern": f"^{_ONE_CURSOR}(,{_ONE_CURSOR})*$"}
)
