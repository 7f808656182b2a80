"""Validation and cleaning of text that databases, browsers and terminals accept."""

import re
from collections.abc import Mapping
from typing import Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from events.error_report import error_message, error_type
from events.redaction import DEFAULT_REDACTOR

MAX_ERROR_CHARACTERS: Final = 10_000
MAX_REASON_CHARACTERS: Final = 64
_NUMBER: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", re.ASCII)


def validate_text(value: str) -> None:
    """Raise ValidationError for NUL, which PostgreSQL rejects, and for lone surrogates."""
    if value != clean_text(value):
        raise ValidationError(
            _("The text contains a NUL character or a lone surrogate."), code="invalid_text"
        )


def clean_text(value: str) -> str:
    """Return `value` with NUL characters and lone surrogates replaced by U+FFFD."""
    return (
        value.replace("\x00", "\ufffd")
        .encode("utf-16", "surrogatepass")
        .decode("utf-16", "replace")
    )


def cut_text(text: str, limit: int) -> str:
    """Return at most `limit` characters of a text, and the number of the others."""
    omitted = len(text) - limit
    return text if omitted <= 0 else f"{text[:limit]} [... {omitted} more characters]"


def clean_error(error: object) -> str:
    """Return the redacted text of an exception, cut to MAX_ERROR_CHARACTERS."""
    text = DEFAULT_REDACTOR.text(clean_text(error_message(error, with_causes=True))) or error_type(
        error
    )
    return cut_text(text, MAX_ERROR_CHARACTERS)


def clean_reason(data: Mapping[str, object]) -> str:
    """Return the `reason` of an event as the column of an attempt stores it."""
    reason = data.get("reason")
    return clean_text(reason)[:MAX_REASON_CHARACTERS] if isinstance(reason, str) else ""


def number_of(text: str, least: float, most: float) -> float | None:
    """Return the number in JSON notation, if it is from `least` to `most`; else None."""
    number = float(text) if _NUMBER.fullmatch(text) else -1.0
    return number if least <= number <= most else None
