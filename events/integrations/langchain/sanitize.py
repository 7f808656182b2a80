"""Sanitizer: converts values of a run to redacted JSON of limited size."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from events.codec import replace_invalid
from events.integrations.langchain.options import RecordOptions
from events.json_size import cut_text, fit, replace_base64
from events.json_values import convert

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

    @property
    def _max_searched(self) -> int:
        return self.max_characters * _SEARCH_FACTOR

    def value(self, value: Any) -> Any:
        """Return any value as redacted JSON, shortened inside if it is large.

        Base64 data, such as pictures, is replaced by its size.
        """
        converted = replace_base64(convert(value))
        if isinstance(converted, str):
            return self._text(converted)
        redactor = self.record.redactor
        limited = fit(converted, self._max_searched, redactor.safe_prefix_length)
        return fit(redactor.value(limited), self.max_characters)

    def text(self, text: str) -> str:
        """Return redacted text; if it is cut, with the number of missing characters."""
        return self._text(replace_invalid(text))

    def _text(self, text: str) -> str:
        redactor, limit = self.record.redactor, self._max_searched
        if len(text) > limit:
            # A secret that is cut in half is not recognized.
            text = cut_text(text, redactor.safe_prefix_length(text[:limit]))
        return cut_text(redactor.text(text), self.max_characters)


def split_text(text: str, max_bytes: int) -> list[str]:
    """Split text into parts of at most `max_bytes` bytes of JSON."""
    if len(text) * 6 <= max_bytes or len(orjson.dumps(text)) <= max_bytes or len(text) < 2:  # noqa: PLR2004
        return [text]
    half = len(text) // 2
    return [*split_text(text[:half], max_bytes), *split_text(text[half:], max_bytes)]
