"""Validation and cleaning of text."""

import pytest
from django.core.exceptions import ValidationError

from jobs.validators import MAX_ERROR_CHARACTERS, clean_error, clean_text, validate_text

GOOD = ["", "text", "ü€😀", "two\nlines\t", "\x01\x7f\x85\u2028", "\ufffd", "\U0010ffff", "<b>"]


@pytest.mark.parametrize("text", GOOD)
def test_valid_text(text):
    validate_text(text)
    assert clean_text(text) == text


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
    assert clean_text(text) == cleaned
    validate_text(cleaned)
    cleaned.encode()


class ErrorWithoutText(Exception):
    def __str__(self):
        raise RuntimeError("not even this")


class ErrorWithInvalidText(Exception):
    __str__ = len  # raises TypeError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("boom", "boom"),
        (ValueError("no ink"), "no ink"),
        (ValueError(), "ValueError"),
        (ValueError("a", "b"), "('a', 'b')"),
        (OSError(2, "No such file"), "[Errno 2] No such file"),
        (ExceptionGroup("both", [ValueError("a")]), "both (1 sub-exception): ValueError: a"),
        (ValueError("a\x00\ud800"), "a\ufffd\ufffd"),
        (None, "None"),
        (5, "5"),
        (ErrorWithoutText(), "ErrorWithoutText"),
        (ErrorWithInvalidText(), "ErrorWithInvalidText"),
    ],
)
def test_text_of_an_error(error, text):
    assert clean_error(error) == text


def test_long_error_is_cut():
    assert clean_error("x" * MAX_ERROR_CHARACTERS) == "x" * MAX_ERROR_CHARACTERS
    cut = clean_error("x" * (MAX_ERROR_CHARACTERS + 7))
    assert cut == "x" * MAX_ERROR_CHARACTERS + " [... 7 more characters]"


def test_secrets_in_errors_are_redacted():
    error = ConnectionError("redis://:hunter2@cache:6379 does not answer")
    assert clean_error(error) == "redis://[redacted]@cache:6379 does not answer"
