"""Whatever a graph hands about, as an event may hold it: JSON, without secrets, not too large."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from events.integrations.langchain.options import RecordOptions

# How much is searched for secrets of a value of which far less is kept.
_SEARCHED: Final = 32


@dataclass(frozen=True, slots=True)
class Sanitizer:
    """Makes values fit for an event."""

    record: RecordOptions
    max_event_bytes: int

    @property
    def limit(self) -> int:
        """How many characters of a value are kept, so that a few of them fit into an event."""
        return min(self.record.max_characters, self.max_event_bytes // 8)

    def shown(self, value: Any) -> Any:
        """`value` as JSON has it, redacted; large, or with a NUL, it becomes cut text."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self.text(value)
        try:
            data = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
        except TypeError:  # hundreds of levels, numbers of hundreds of digits
            return self.text(str(value))
        if len(data) > self.limit * _SEARCHED:
            return self.text(data.decode())
        hidden = self.record.redactor.value(orjson.loads(data))
        data = orjson.dumps(hidden)
        if len(data) > self.limit or b"\\u0000" in data:
            return self._cut(data.decode(), 0)
        return hidden

    def text(self, text: str) -> str:
        """Text without secrets, cut with a word on how much is missing."""
        text, dropped = clean(text), 0
        most = self.limit * _SEARCHED
        if len(text) > most:
            # What is cut in half is not known as a secret any more.
            end = self.record.redactor.settled(text[:most])
            text, dropped = text[:end], len(text) - end
        return self._cut(self.record.redactor.text(text), dropped)

    def _cut(self, text: str, dropped: int) -> str:
        more = len(text) - self.limit
        if more <= 0 and not dropped:
            return text
        return f"{text[: self.limit]} [... {max(more, 0) + dropped} more characters]"


def clean(text: str) -> str:
    """Text without what JSON logs do not take: NUL, and halves of surrogate pairs."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def pieces(text: str, limit: int) -> list[str]:
    """Text in pieces of at most `limit` bytes of JSON each."""
    if len(text) * 6 <= limit or len(orjson.dumps(text)) <= limit or len(text) < 2:  # noqa: PLR2004
        return [text]
    half = len(text) // 2
    return [*pieces(text[:half], limit), *pieces(text[half:], limit)]
