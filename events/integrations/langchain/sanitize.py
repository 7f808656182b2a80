"""Sanitizer: converts values of a run to redacted JSON of limited size."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson

from events.codec import time_text
from events.integrations.langchain.options import RecordOptions

# A value is searched for secrets up to this multiple of its size limit.
_SEARCH_FACTOR: Final = 32


@dataclass(frozen=True, slots=True)
class Sanitizer:
    """Converts values to redacted JSON of limited size."""

    record: RecordOptions
    max_event_bytes: int

    @property
    def max_characters(self) -> int:
        """Size limit of a value. An event has room for several values."""
        return min(self.record.max_characters, self.max_event_bytes // 8)

    def value(self, value: Any) -> Any:
        """Return `value` as redacted JSON; as cut text if it is large or contains NUL."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self.text(value)
        try:
            data = orjson.dumps(value, default=_text, option=orjson.OPT_NON_STR_KEYS)
        except TypeError:  # too deeply nested, or an integer of more than 64 bits
            return self.text(str(value))
        if len(data) > self.max_characters * _SEARCH_FACTOR:
            return self.text(data.decode())
        redacted = self.record.redactor.value(orjson.loads(data))
        data = orjson.dumps(redacted)
        if len(data) > self.max_characters or b"\\u0000" in data:
            return self._cut(data.decode(), 0)
        return redacted

    def text(self, text: str) -> str:
        """Return redacted text; if it is cut, with the number of missing characters."""
        text, dropped = replace_invalid(text), 0
        limit = self.max_characters * _SEARCH_FACTOR
        if len(text) > limit:
            # A secret that is cut in half is not recognized.
            end = self.record.redactor.safe_prefix_length(text[:limit])
            text, dropped = text[:end], len(text) - end
        return self._cut(self.record.redactor.text(text), dropped)

    def _cut(self, text: str, dropped: int) -> str:
        excess = len(text) - self.max_characters
        if excess <= 0 and not dropped:
            return text
        return f"{text[: self.max_characters]} [... {max(excess, 0) + dropped} more characters]"


def _text(value: object) -> str:
    with suppress(TypeError):
        return time_text(value)
    return str(value)


def replace_invalid(text: str) -> str:
    """Replace NUL and unpaired surrogates, which JSON columns do not accept."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def split_text(text: str, max_bytes: int) -> list[str]:
    """Split text into parts of at most `max_bytes` bytes of JSON."""
    if len(text) * 6 <= max_bytes or len(orjson.dumps(text)) <= max_bytes or len(text) < 2:  # noqa: PLR2004
        return [text]
    half = len(text) // 2
    return [*split_text(text[:half], max_bytes), *split_text(text[half:], max_bytes)]
