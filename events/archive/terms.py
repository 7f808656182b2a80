"""Tokenizer: the search terms of an event, for all databases and for entries of the stream.

Each word is a term, case-folded and in NFKC; each ideograph or kana is a word of its own. Each
value has a term with its path: the keys to it, joined with dots, without the indexes of lists.
Of `event_type` and `timestamp`, only the values are indexed.
"""

import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Final
from unicodedata import normalize

import orjson

from events.types import Event

MAX_PATH_CHARS: Final = 200
_MAX_WORD_CHARS: Final = 64
_MAX_TERMS: Final = 20_000
_MAX_TEXT_CHARS: Final = 256 * 1024
_IDEOGRAPHS: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD: Final = re.compile(rf"[{_IDEOGRAPHS}]|[^\W{_IDEOGRAPHS}]+")
_VALUE_PREFIX: Final = "="  # no word starts with it
EVENT_TYPE: Final = "event_type"
_TIMESTAMP: Final = "timestamp"


def words_of(text: str) -> list[str]:
    """The words of a text, in order, each truncated to 64 characters."""
    folded = text.lower() if text.isascii() else normalize("NFKC", text).casefold()
    return [word[:_MAX_WORD_CHARS] for word in _WORD.findall(folded)]


def value_term(path: str, value: str) -> str:
    """The term of a value at a path; `value` is its JSON text without quotation marks."""
    text = f"{path}\x00{value}".encode("utf-8", "surrogatepass")
    return _VALUE_PREFIX + blake2b(text, digest_size=8).hexdigest()


def terms_of(event: Event) -> set[str]:
    """The terms of an event; at most about 20,000."""
    data = orjson.loads(event.raw)
    data.pop(EVENT_TYPE, None)
    data.pop(_TIMESTAMP, None)
    terms = {value_term(EVENT_TYPE, event.event_type), value_term(_TIMESTAMP, event.timestamp)}
    remaining_chars = _MAX_TEXT_CHARS
    for path, value in _scalars(data):
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        if len(path) <= MAX_PATH_CHARS:
            terms.add(value_term(path, text))
        if value is not None and not isinstance(value, bool):
            terms.update(words_of(text))
        remaining_chars -= len(text) + len(_VALUE_PREFIX) + 16
        if remaining_chars < 0 or len(terms) > _MAX_TERMS:
            break
    return terms


def _scalars(data: object) -> Iterator[tuple[str, Any]]:
    """The values that are neither objects nor lists, with their paths, in document order."""
    stack: list[tuple[str, Any]] = [("", data)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict):
            stack.extend((_join(path, key), inner) for key, inner in reversed(value.items()))
        elif isinstance(value, list):
            stack.extend((path, inner) for inner in reversed(value))
        else:
            yield path, value


def _join(path: str, key: str) -> str:
    """Extend a path by a key, up to one character more than is indexed."""
    joined = f"{path}.{key}" if path else key
    return joined[: MAX_PATH_CHARS + 1]
