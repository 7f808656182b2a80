"""Publishing from outside: the headers of a producer, and of a request that may come again."""

import re
from dataclasses import dataclass
from typing import Any, Final

from django.http.request import HttpHeaders
from rest_framework.exceptions import ValidationError

from events.numbered import LARGEST_NUMBER
from events.types import shown

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
_ID: Final = "Producer-Id"
_EPOCH: Final = "Producer-Epoch"
_SEQUENCE: Final = "Producer-Sequence"
_LARGEST_EPOCH: Final = 2**31 - 1
_NAME: Final = re.compile(r"[\x21-\x7e]{1,200}")
_NUMBER: Final = re.compile(r"[0-9]{1,16}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Producing:
    """Who publishes, and as which of theirs; without any of the headers, nobody in particular."""

    producer: tuple[str, ...] | None
    epoch: int
    sequence: int

    @classmethod
    def read(cls, headers: HttpHeaders, user: Any) -> "Producing":
        """Read `Producer-Id`, `-Epoch` and `-Sequence`, or `Idempotency-Key`."""
        epoch = _number(headers, _EPOCH, least=0, most=_LARGEST_EPOCH) or 0
        key, name = name_header(headers, IDEMPOTENCY_KEY), name_header(headers, _ID)
        sequence = _number(headers, _SEQUENCE, least=1, most=LARGEST_NUMBER)
        if key is not None and name is not None:
            raise ValidationError({_ID: [f"Send this, or {IDEMPOTENCY_KEY}: not both."]})
        if (name is None) != (sequence is None):
            missing, given = (_ID, _SEQUENCE) if name is None else (_SEQUENCE, _ID)
            raise ValidationError({missing: [f"It is needed beside {given}."]})
        if name is not None:
            return cls((str(user.pk), "producer", name), epoch, sequence or 1)
        return cls(None if key is None else (str(user.pk), "key", key), epoch, 1)


def name_header(headers: HttpHeaders, name: str) -> str | None:
    """A header with a name or a key; None without it."""
    text = headers.get(name)
    if text is not None and not _NAME.fullmatch(text):
        words = "It is 1 to 200 characters of ASCII that can be seen."
        raise ValidationError({name: [f"{words} Given: {shown(text)}."]})
    return text


def _number(headers: HttpHeaders, name: str, *, least: int, most: int) -> int | None:
    text = headers.get(name)
    if text is None:
        return None
    if _NUMBER.fullmatch(text) and least <= int(text) <= most:
        return int(text)
    raise ValidationError({name: [f"It is a number from {least} to {most}. Given: {shown(text)}."]})
