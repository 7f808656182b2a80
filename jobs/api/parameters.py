"""Kinds of query parameters and headers, as serializer fields.

Each field parses its text, and describes itself to the OpenAPI schema.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from django.utils.timezone import make_aware
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from events.types import Cursor, shown
from jobs.validators import number_of

_MAX_TEXT_CHARACTERS: Final = 200
_ONE_CURSOR: Final = "(0|[0-9]{1,20}-[0-9]{1,20})"
_CURSOR: Final = {"type": "string", "pattern": f"^{_ONE_CURSOR}$", "example": "1795315967958-0"}
_CURSORS: Final = {"type": "string", "pattern": f"^{_ONE_CURSOR}(,{_ONE_CURSOR})*$"}
_TIME: Final = {"type": "string", "format": "date-time"}
_INTEGER: Final = re.compile(r"[0-9]{1,16}", re.ASCII)
_UNENCODED_PLUS: Final = re.compile(r" (\d{2}:?\d{2})\Z", re.ASCII)

Schema = Mapping[str, Any]


class Parameter(serializers.Field[Any, Any, Any, Any]):
    """One query parameter or header.

    `parse` returns the value of a text, or raises ValueError with the text of the 400 response.
    `schema` is its JSON schema. A parameter with `array`, the JSON schema of a list, may be
    repeated. A schema may be a function, for a limit that a setting defines.
    """

    def __init__(
        self,
        parse: Callable[[str], Any],
        schema: Schema | Callable[[], Schema],
        help_text: str,
        *,
        array: Schema | Callable[[], Schema] | None = None,
        **options: Any,
    ) -> None:
        if not options.get("required"):
            options.setdefault("default", None)
        super().__init__(help_text=help_text, **options)
        self.parse, self.schema, self.array = parse, schema, array

    def to_internal_value(self, data: Any) -> Any:
        try:
            return self.parse(data) if self.array is None else self._parse_all(data)
        except ValueError as error:
            raise ValidationError(str(error)) from error

    def _parse_all(self, texts: list[str]) -> list[Any]:
        array = _current(self.array)
        if len(texts) > array["maxItems"]:
            raise ValueError(f"At most {array['maxItems']} values are allowed.")
        if array.get("uniqueItems") and len(set(texts)) < len(texts):
            raise ValueError("The values must be different.")
        return [self.parse(text) for text in texts]

    @property
    def openapi(self) -> dict[str, Any]:
        """The JSON schema of the parameter, with its default."""
        schema = _current(self.schema)
        if self.array is not None:
            return {"type": "array", "items": schema, **_current(self.array)}
        default = None if self.required else self.get_default()
        return schema if default is None else {**schema, "default": default}


def _current(schema: Any) -> dict[str, Any]:
    return dict(schema() if callable(schema) else schema)


def number(
    lower: float, upper: float | Callable[[], float], help_text: str, **options: Any
) -> Parameter:
    """Return a parameter for a number within bounds; an integer if the lower bound is one.

    The upper bound may be a function, for a limit that a setting defines.
    """
    is_integer = isinstance(lower, int)
    maximum = upper if callable(upper) else lambda: upper

    def parse(digits: str) -> float:
        value = number_of(digits, lower, maximum())
        if value is not None and (not is_integer or _INTEGER.fullmatch(digits)):
            return int(digits) if is_integer else value
        kind, most = ("an integer", maximum()) if is_integer else ("a number", f"{maximum():g}")
        raise ValueError(f"Must be {kind} from {lower:g} to {most}. Given: {shown(digits)}.")

    def schema() -> Schema:
        kind = "integer" if is_integer else "number"
        return {"type": kind, "minimum": lower, "maximum": maximum()}

    return Parameter(parse, schema, help_text, **options)


def matching(pattern: str, expected: str, help_text: str, **options: Any) -> Parameter:
    """Return a parameter for text that matches a regular expression."""

    def parse(value: str) -> str:
        if re.fullmatch(pattern, value):
            return value
        raise ValueError(f"Must be {expected}. Given: {shown(value)}.")

    return Parameter(parse, {"type": "string", "pattern": f"^{pattern}$"}, help_text, **options)


def text(help_text: str, *, min_length: int = 0, **options: Any) -> Parameter:
    """Return a parameter for short text without NUL, which PostgreSQL cannot store."""
    pattern = rf"[^\x00]{{{min_length},{_MAX_TEXT_CHARACTERS}}}"
    expected = f"{min_length} to {_MAX_TEXT_CHARACTERS} characters without NUL"
    return matching(pattern, expected, help_text, **options)


def choice(help_text: str, *choices: str, **options: Any) -> Parameter:
    """Return a parameter for one of several words."""

    def parse(value: str) -> str:
        if value in choices:
            return value
        raise ValueError(f"Must be one of: {', '.join(choices)}. Given: {shown(value)}.")

    return Parameter(parse, {"type": "string", "enum": list(choices)}, help_text, **options)


def time(help_text: str) -> Parameter:
    """Return a parameter for ISO 8601; without an offset, in the time zone of the project."""
    return Parameter(_parse_time, _TIME, help_text)


def _parse_time(iso: str) -> datetime:
    try:
        # A client that does not encode "+" sends a space.
        given = datetime.fromisoformat(_UNENCODED_PLUS.sub(r"+\1", iso))
        return (given if given.tzinfo else make_aware(given)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        expected = "a time in ISO 8601, such as 2026-11-22T10:00:00+00:00"
        raise ValueError(f"Must be {expected}. Given: {shown(iso)}.") from error


def cursor(help_text: str) -> Parameter:
    """Return a parameter for a cursor."""
    return Parameter(Cursor.parse, _CURSOR, help_text)


def cursors(help_text: str) -> Parameter:
    """Return a parameter for cursors separated by commas."""
    return Parameter(lambda text: list(map(Cursor.parse, text.split(","))), _CURSORS, help_text)
