"""Publishing from outside: the headers of a producer, and of a request that may come again."""

import re
from dataclasses import dataclass
from typing import Any, Final

from django.http.request import HttpHeaders
from rest_framework.exceptions import ValidationError

from events.producer.external import LARGEST_NUMBER
from events.types import shown

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
PRODUCER_ID: Final = "Producer-Id"
PRODUCER_EPOCH: Final = "Producer-Epoch"
PRODUCER_SEQUENCE: Final = "Producer-Sequence"
LARGEST_EPOCH: Final = 2**31 - 1
NAME: Final = r"[\x21-\x7e]{1,200}"
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
        epoch = _number(headers, PRODUCER_EPOCH, least=0, most=LARGEST_EPOCH) or 0
        key, name = name_header(headers, IDEMPOTENCY_KEY), name_header(headers, PRODUCER_ID)
        sequence = _number(headers, PRODUCER_SEQUENCE, least=1, most=LARGEST_NUMBER)
        if key is not None and name is not None:
            raise ValidationError({PRODUCER_ID: [f"Send this, or {IDEMPOTENCY_KEY}: not both."]})
        if (name is None) != (sequence is None):
            missing, given = (
                (PRODUCER_ID, PRODUCER_SEQUENCE)
                if name is None
                else (PRODUCER_SEQUENCE, PRODUCER_ID)
            )
            raise ValidationError({missing: [f"It is needed beside {given}."]})
        if name is not None:
            return cls((str(user.pk), "producer", name), epoch, sequence or 1)
        return cls(None if key is None else (str(user.pk), "key", key), epoch, 1)


def name_header(headers: HttpHeaders, name: str) -> str | None:
    """A header with a name or a key; None without it."""
    text = headers.get(name)
    if text is not None and not re.fullmatch(NAME, text):
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
