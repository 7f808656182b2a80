"""Validation and cleaning of text that databases, browsers and terminals accept."""

import re
from collections.abc import Mapping
from typing import Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from events.codec import replace_invalid

MAX_REASON_CHARACTERS: Final = 64
_NUMBER: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", re.ASCII)


def validate_text(value: str) -> None:
    """Raise ValidationError for NUL, which PostgreSQL rejects, and for lone surrogates."""
    if value != replace_invalid(value):
        raise ValidationError(
            _("The text contains a NUL character or a lone surrogate."), code="invalid_text"
        )


def clean_reason(data: Mapping[str, object]) -> str:
    """Return the `reason` of an event as the column of an attempt stores it."""
    reason = data.get("reason")
    return replace_invalid(reason)[:MAX_REASON_CHARACTERS] if isinstance(reason, str) else ""


def parse_attempt(text: str) -> int | None:
    """Return the attempt that a form names; None without one, 0 if its number is too long."""
    try:
        return int(text) if text.isdecimal() else None
    except ValueError:  # more digits than int() converts; no attempt has this number
        return 0


def number_of(text: str, least: float, most: float) -> float | None:
    """Return the number in JSON notation, if it is from `least` to `most`; else None."""
    number = float(text) if _NUMBER.fullmatch(text) else -1.0
    return number if least <= number <= most else None
