"""Event filter: conditions on type, words and values, evaluated in memory.

`events.archive.lookups` evaluates the same filter in SQL.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Self

from events.archive.terms import EVENT_TYPE, MAX_PATH_CHARS, terms_of, value_term, words_of
from events.error_text import ErrorText
from events.types import Event

MAX_CONDITIONS: Final = 20


@dataclass(frozen=True, slots=True)
class EventFilter:
    """A conjunction of clauses over the terms of an event.

    A clause is a tuple of alternative terms; a term that ends with `*` is a prefix.
    """

    clauses: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def of(
        cls,
        event_types: Collection[str] | None = None,
        search: str = "",
        where: Mapping[str, str] | None = None,
    ) -> Self:
        """Match one of these types, all of these words, and this value at each of these paths.

        A word that ends with `*` is a prefix. Raises ValueError.
        """
        if isinstance(event_types, str):
            raise ValueError(  # noqa: TRY004 - the caller handles one error for all conditions
                f"event_types must be a list of types, not a string. Given: {event_types!r}."
            )
        terms = _search_terms(search)
        clauses: list[tuple[str, ...]] = [(term,) for term in terms]
        if search and not terms:
            clauses.append(())  # no event matches a text without a word
        for path, value in (where or {}).items():
            if not 0 < len(path) <= MAX_PATH_CHARS:
                raise ValueError(
                    ErrorText("A path must have 1 to %(limit)d characters.", limit=MAX_PATH_CHARS)
                )
            clauses.append((value_term(path, value),))
        if event_types is not None:
            clauses.append(tuple(value_term(EVENT_TYPE, one) for one in sorted(event_types)))
        if len(clauses) > MAX_CONDITIONS:
            raise ValueError(
                ErrorText("At most %(limit)d conditions are allowed.", limit=MAX_CONDITIONS)
            )
        return cls(tuple(clauses))

    def __bool__(self) -> bool:
        return bool(self.clauses)

    def matches(self, event: Event) -> bool:
        if not self.clauses:
            return True
        terms = terms_of(event)
        return all(any(_contains(terms, term) for term in clause) for clause in self.clauses)


def _contains(terms: set[str], term: str) -> bool:
    if term.endswith("*"):
        return any(each.startswith(term[:-1]) for each in terms)
    return term in terms


def _search_terms(search: str) -> list[str]:
    found = list[str]()
    for part in search.split():
        words = words_of(part)
        if words and part.endswith("*"):
            words[-1] += "*"
        found += words
    return list(dict.fromkeys(found))
