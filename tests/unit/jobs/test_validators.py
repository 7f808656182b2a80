"""Validation and cleaning of text."""

import pytest
from django.core.exceptions import ValidationError

from events.codec import replace_invalid
from jobs.validators import validate_text

GOOD = ["", "text", "ü€😀", "two\nlines\t", "\x01\x7f\x85\u2028", "\ufffd", "\U0010ffff", "<b>"]


@pytest.mark.parametrize("text", GOOD)
def test_valid_text(text):
    validate_text(text)
    assert replace_invalid(text) == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("\x00", "\ufffd"),
        ("a\x00b\x00", "a\ufffdb\ufffd"),
        ("\ud800", "\ufffd"),
        ("a\udc00b", "a\ufffdb"),
        ("\udc00\ud800", "\ufffd\ufffd"),
        ("\ud83d\ude00", "😀"),
        ("\x00\ud800", "\ufffd\ufffd"),
    ],
)
def test_invalid_text(text, cleaned):
    with pytest.raises(ValidationError, match="NUL character"):
        validate_text(text)
    assert replace_invalid(text) == cleaned
    validate_text(cleaned)
    cleaned.encode()
