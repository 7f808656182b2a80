"""Which events are wanted: by their type, the words in their data, and values in it.

An event has *terms*: the words in its texts and numbers, its type, and each of its values with the
path to it. The archive has an index of terms; of what only the stream has, the terms are looked at
when it is read. So the same is found in both, and on every database.

- A word is a run of letters, digits and underscores, without regard to case and to compatibility
  forms (NFKC); each ideograph and kana is one by itself. The first 64 characters count.
- A path is the keys to a value with dots between them; lists do not count: `sources.title` is the
  title of any of the sources.
- The words of type and time are none of the event's text.
- Of a very long event the first 20,000 terms count.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, Self
from unicodedata import normalize

import orjson

from events.types import Event, shown

LONGEST_PATH: Final = 200
MOST_CONDITIONS: Final = 20
_LONGEST_WORD: Final = 64
_MOST_TERMS: Final = 20_000
_MOST_CHARACTERS: Final = 256 * 1024
_SINGLE: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD: Final = re.compile(rf"[{_SINGLE}]|[^\W{_SINGLE}]+")
# A term that is no word begins so, which no word does.
_MARK: Final = "="
_TYPE: Final = "event_type"
_TIMESTAMP: Final = "timestamp"


def words_of(text: str) -> list[str]:
    """The words of a text, in its order."""
    folded = text.lower() if text.isascii() else normalize("NFKC", text).casefold()
    return [word[:_LONGEST_WORD] for word in _WORD.findall(folded)]


def value_term(path: str, value: str) -> str:
    """The term of a value, as JSON writes it but for the quotation marks, at a path."""
    text = f"{path}\x00{value}".encode("utf-8", "surrogatepass")
    return _MARK + blake2b(text, digest_size=8).hexdigest()


def terms_of(event: Event) -> set[str]:
    """The terms of an event."""
    data = orjson.loads(event.raw)
    data.pop(_TYPE, None)
    data.pop(_TIMESTAMP, None)
    terms = {value_term(_TYPE, event.event_type), value_term(_TIMESTAMP, event.timestamp)}
    room = _MOST_CHARACTERS
    for path, value in _values(data):
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        if len(path) <= LONGEST_PATH:
            terms.add(value_term(path, text))
        if value is not None and not isinstance(value, bool):
            terms.update(words_of(text))
        room -= len(text) + len(_MARK) + 16
        if room < 0 or len(terms) > _MOST_TERMS:
            break
    return terms


def _values(data: object) -> Iterator[tuple[str, Any]]:
    """The values in an event that are neither objects nor lists, in their order."""
    waiting: list[tuple[str, Any]] = [("", data)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend((_joined(path, key), inner) for key, inner in reversed(value.items()))
        elif isinstance(value, list):
            waiting.extend((path, inner) for inner in reversed(value))
        else:
            yield path, value


def _joined(path: str, key: str) -> str:
    """The path to a key; of one that is too long no more than shows that it is."""
    if len(path) > LONGEST_PATH:
        return path
    return f"{path}.{key}"[: LONGEST_PATH + 1] if path else key[: LONGEST_PATH + 1]


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Conditions that all hold of an event.

    `groups` are terms, one of which it has; a term that ends with `*` is the start of one.
    """

    groups: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def of(
        cls,
        event_types: Collection[str] | None = None,
        search: str = "",
        where: Mapping[str, str] | None = None,
    ) -> Self:
        """One of these types, all of these words, and this value at each of these paths.

        A word that ends with `*` is the start of one. Raises ValueError.
        """
        if isinstance(event_types, str):
            raise ValueError(  # noqa: TRY004 - an argument among others that are wrong
                f"event_types is several, such as a list. Given: {event_types!r}."
            )
        groups: list[tuple[str, ...]] = [(word,) for word in _wanted_words(search)]
        for path, value in (where or {}).items():
            if not 0 < len(path) <= LONGEST_PATH:
                raise ValueError(f"A path has 1 to {LONGEST_PATH} characters.")
            groups.append((value_term(path, value),))
        if event_types is not None:
            groups.append(tuple(value_term(_TYPE, one) for one in sorted(event_types)))
        if len(groups) > MOST_CONDITIONS:
            raise ValueError(f"At most {MOST_CONDITIONS} conditions are looked for at once.")
        return cls(tuple(groups))

    def __bool__(self) -> bool:
        return bool(self.groups)

    def matches(self, event: Event) -> bool:
        """Whether an event is wanted."""
        if not self.groups:
            return True
        terms = terms_of(event)
        return all(any(_has(terms, term) for term in group) for group in self.groups)


def _has(terms: set[str], wanted: str) -> bool:
    if wanted.endswith("*"):
        return any(term.startswith(wanted[:-1]) for term in terms)
    return wanted in terms


def _wanted_words(search: str) -> list[str]:
    found = list[str]()
    for part in search.split():
        words = words_of(part)
        if words and part.endswith("*"):
            words[-1] += "*"
        found += words
    if search and not found:
        raise ValueError(f"There is no word in what is searched for. Given: {shown(search)}.")
    return list(dict.fromkeys(found))
