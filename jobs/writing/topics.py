"""Topics of a text without headings: where one ends, and what to call it.

Boundaries are put where neighbouring paragraphs share least (Hearst, TextTiling, 1997).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log, sqrt

from jobs.writing.language import keys_of, same_key
from jobs.writing.markdown import Block, plain
from jobs.writing.sentences import (
    join_sentences,
    key_sentences,
    lead_sentence,
    opening_words,
    split_sentences,
)

MAX_TOPICS = 12
# Comparing more units than this would find no better boundaries, only take longer.
_MAX_UNITS = 400
_SENTENCES_A_UNIT = 3
_MIN_SENTENCES = 4
# So few paragraphs are a topic each.
_FEW = 7
# The heading of a topic is looked for in so much of it.
_SAMPLE = 2_000
_MAX_BLOCKS = 60


@dataclass(frozen=True, slots=True)
class Topic:
    """A part of a text that deals with one thing."""

    heading: str
    blocks: tuple[Block, ...]


def split_topics(blocks: tuple[Block, ...]) -> list[Topic]:
    """The topics of a text, in order; [] if the text is too short to have several."""
    units = _units(blocks)
    if not units[1:]:
        return []
    counts = [Counter(keys_of(_text(unit))) for unit in units]
    parts = _parts(units, _boundaries(counts, [len(_text(unit)) for unit in units]))
    topics: list[Topic] = []
    for part in parts:
        topics.append(Topic(_heading(part, [topic.heading for topic in topics]), part))
    return topics


def _units(blocks: tuple[Block, ...]) -> list[tuple[Block, ...]]:
    """What can be moved as a whole: a paragraph with its list, or a few sentences of it."""
    if len(blocks) == 1 and blocks[0].kind == "paragraph":
        blocks = tuple(_in_small_paragraphs(blocks[0].text))
    units: list[list[Block]] = []
    for block in blocks:
        if block.kind == "paragraph" or not units:
            units.append([block])
        else:
            units[-1].append(block)
    size = -(-len(units) // _MAX_UNITS)
    return [_flat(units[start : start + size]) for start in range(0, len(units), size or 1)]


def _in_small_paragraphs(text: str) -> Iterable[Block]:
    sentences = split_sentences(text)
    if len(sentences) < _MIN_SENTENCES:
        return [Block("paragraph", text)]
    starts = range(0, len(sentences), _SENTENCES_A_UNIT)
    groups = (sentences[start : start + _SENTENCES_A_UNIT] for start in starts)
    return [Block("paragraph", join_sentences(group)) for group in groups]


def _flat(units: Sequence[Sequence[Block]]) -> tuple[Block, ...]:
    return tuple(block for unit in units for block in unit)


def _text(blocks: Sequence[Block]) -> str:
    return "\n".join(plain(block.text) for block in blocks if block.kind != "code")


def _boundaries(counts: Sequence[Counter[str]], sizes: Sequence[int]) -> list[int]:
    """Before which units a new topic begins, in order."""
    wanted = min(len(counts), MAX_TOPICS, max(_FEW, round(2 * sqrt(len(counts)))))
    smallest = sum(sizes) / (wanted * 4)
    likeness = {place: _likeness(counts, place) for place in range(1, len(counts))}
    chosen = [0, len(counts)]
    for place in sorted(likeness, key=lambda place: (likeness[place], place)):
        if len(chosen) > wanted:
            break
        before = max(other for other in chosen if other <= place)
        after = min(other for other in chosen if other >= place)
        if min(sum(sizes[before:place]), sum(sizes[place:after])) >= smallest:
            chosen.append(place)
    return sorted(chosen)[1:-1]


def _likeness(counts: Sequence[Counter[str]], place: int) -> float:
    before = sum(counts[max(0, place - 2) : place], Counter[str]())
    after = sum(counts[place : place + 2], Counter[str]())
    shared = sum(log(1 + min(before[key], after[key])) for key in before.keys() & after.keys())
    return shared / (1 + sqrt(len(before) * len(after)))


def _parts(units: Sequence[tuple[Block, ...]], places: Sequence[int]) -> list[tuple[Block, ...]]:
    return [_flat(units[start:end]) for start, end in pairwise([0, *places, len(units)])]


def _heading(part: Sequence[Block], taken: Iterable[str]) -> str:
    """The opening words of the most telling of the paragraphs' first sentences."""
    paragraphs = [split_sentences(plain(block.text[:_SAMPLE])) for block in part[:_MAX_BLOCKS]]
    openings = [sentences[0] for sentences in paragraphs if sentences]
    heading = opening_words(lead_sentence(key_sentences(openings, 1)) or "…")
    number = sum(same_key(heading) == same_key(other) for other in taken)
    return f"{heading} ({number + 1})" if number else heading
