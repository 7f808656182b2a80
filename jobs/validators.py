"""What text a database, a browser and a terminal all take."""

import logging
import re
from typing import Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from events.redaction import DEFAULT_REDACTOR

logger = logging.getLogger(__name__)

MAX_ERROR_CHARACTERS: Final = 10_000
_NUMBER: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", re.ASCII)


def validate_text(value: str) -> None:
    """Refuse NUL, which PostgreSQL has not, and lone surrogates, which are not UTF-8."""
    if value != clean_text(value):
        raise ValidationError(
            _("The text has a NUL character or half of a surrogate pair."), code="invalid_text"
        )


def clean_text(value: str) -> str:
    """`value` with what `validate_text` refuses replaced by U+FFFD."""
    return (
        value.replace("\x00", "\ufffd")
        .encode("utf-16", "surrogatepass")
        .decode("utf-16", "replace")
    )


def clean_error(error: object) -> str:
    """What an exception says, as text that can be stored and shown, cut to a readable length."""
    text = DEFAULT_REDACTOR.text(clean_text(_said(error))) or type(error).__name__
    if len(text) <= MAX_ERROR_CHARACTERS:
        return text
    return f"{text[:MAX_ERROR_CHARACTERS]} [... {len(text) - MAX_ERROR_CHARACTERS} more characters]"


def _said(error: object) -> str:
    try:
        return str(error)
    except Exception:
        # Anybody's exception class: its own fault must not keep its job from being failed.
        logger.exception("error_without_words", extra={"error_type": type(error).__name__})
        return ""


def number_of(text: str, least: float, most: float) -> float | None:
    """The number from `least` to `most` that a text is, as JSON writes it; else None."""
    number = float(text) if _NUMBER.fullmatch(text) else -1.0
    return number if least <= number <= most else None
