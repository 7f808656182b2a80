"""The text of one section, out of sentences of the sources. Nothing is made up."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

from jobs.writing.language import keys_of, language_of, same_key
from jobs.writing.markdown import Block, plain, read_blocks
from jobs.writing.passages import join_blocks
from jobs.writing.phrases import phrases_for
from jobs.writing.prompts import SectionBrief
from jobs.writing.sentences import is_statement, join_sentences, key_sentences, split_sentences

_MAX_OWN_SENTENCES = 24
_MAX_FOUND_SENTENCES = 10
_MAX_BLOCKS = 40
_MAX_CODE_LINES = 40
_MIN_SUMMARY = 12


@dataclass(frozen=True, slots=True)
class _Found:
    headings: tuple[str, ...]
    text: str


def write_section(brief: SectionBrief, passages: Sequence[Mapping[str, Any]] | None) -> str:
    """The section's text, in Markdown; never empty.

    `passages` are those that `find_passages` found; None if there are no sources at all. What is
    in the brief's `written` is not said again, unless nothing else is left to say.
    """
    found = [_Found(_headings(p.get("headings")), str(p.get("text", ""))) for p in passages or ()]
    said = _said(brief)
    text = _from_passages(brief, found, said) or _from_passages(brief, found, frozenset())
    return text or _without_passages(brief, sources=passages is not None)


def _headings(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _said(brief: SectionBrief) -> frozenset[str]:
    sentences = (
        key for block in read_blocks(brief.written) for key in map(same_key, _quotable(block))
    )
    return frozenset([*sentences, same_key(brief.heading)])


def _quotable(block: Block) -> list[str]:
    return split_sentences(block.text) if block.kind == "paragraph" else [block.text]


def _from_passages(brief: SectionBrief, found: Sequence[_Found], said: frozenset[str]) -> str:
    if own := _own(brief, found):
        return _quoted(own, said)
    if brief.subheadings:
        return ""
    return _picked(brief, found, said) or _quoted(_with_summary(brief, found), said)


def _own(brief: SectionBrief, found: Sequence[_Found]) -> list[_Found]:
    """The passages under the section's heading; of several such headings, those on its path."""
    heading = same_key(brief.heading)
    under = [
        passage
        for passage in found
        if heading in _reach(passage, only_last=bool(brief.subheadings))
    ]
    above = {same_key(other) for other in brief.path}
    on_path = [passage for passage in under if above & set(map(same_key, passage.headings))]
    return on_path or under


def _reach(passage: _Found, *, only_last: bool) -> list[str]:
    headings = passage.headings[-1:] if only_last else passage.headings
    return [same_key(heading) for heading in headings]


def _with_summary(brief: SectionBrief, found: Sequence[_Found]) -> list[_Found]:
    """The passages that the summary was lifted from."""
    lead = same_key((split_sentences(brief.summary) or [""])[0])
    if len(lead) < _MIN_SUMMARY:
        return []
    return [passage for passage in found if lead in same_key(plain(passage.text))]


def _quoted(passages: Sequence[_Found], said: frozenset[str]) -> str:
    blocks = [block for passage in passages for block in read_blocks(passage.text)]
    fresh = _without_repeats(blocks[:_MAX_BLOCKS], said)
    prose = [s for block in fresh if block.kind == "paragraph" for s in split_sentences(block.text)]
    kept = set(key_sentences(prose, _MAX_OWN_SENTENCES))
    return join_blocks([block for b in fresh if (block := _shortened(b, kept)).text])


def _without_repeats(blocks: Iterable[Block], said: frozenset[str]) -> list[Block]:
    seen = set(said)
    fresh: list[Block] = []
    for block in blocks:
        new = [text for text in _quotable(block) if same_key(text) not in seen]
        seen.update(map(same_key, new))
        if new:
            fresh.append(replace(block, text=join_sentences(new)))
    return fresh


def _shortened(block: Block, kept: set[str]) -> Block:
    if block.kind == "paragraph":
        sentences = [s for s in split_sentences(block.text) if s in kept]
        return replace(block, text=join_sentences(sentences))
    if block.kind == "code" and block.text.count("\n") >= _MAX_CODE_LINES:
        lines = block.text.split("\n")[:_MAX_CODE_LINES]
        return replace(block, text="\n".join([*lines, "…"]))
    return block


def _picked(brief: SectionBrief, found: Sequence[_Found], said: frozenset[str]) -> str:
    """The sentences that share a word with the heading, each with the next one of its paragraph."""
    about = set(keys_of(brief.heading))
    paragraphs = [
        _about(split_sentences(block.text), about)
        for passage in found
        for block in read_blocks(passage.text)
        if block.kind == "paragraph"
    ]
    fresh = [[s for s in sentences if same_key(s) not in said] for sentences in paragraphs]
    best = set(key_sentences([s for sentences in fresh for s in sentences], _MAX_FOUND_SENTENCES))
    kept = [join_sentences([s for s in sentences if s in best]) for sentences in fresh]
    return "\n\n".join(dict.fromkeys(filter(None, kept)))


def _about(sentences: Sequence[str], about: set[str]) -> list[str]:
    hits = [bool(about & set(keys_of(s))) and is_statement(s) for s in sentences]
    wanted = (hit or (place > 0 and hits[place - 1]) for place, hit in enumerate(hits))
    return list(compress(sentences, wanted))


def _without_passages(brief: SectionBrief, *, sources: bool) -> str:
    phrases = phrases_for(language_of(f"{brief.task} {brief.heading}"))
    if brief.subheadings:
        return phrases.parts.format(items="; ".join(brief.subheadings))
    phrase = phrases.not_in_sources if sources else phrases.no_source
    # The longer sentence, which says what to do, stands once in a document.
    if not sources and phrases.no_source.partition("{heading}")[2] in brief.written:
        phrase = phrases.no_source_again
    promise = phrases.covers.format(heading=brief.heading, title=brief.title)
    summary = "" if brief.summary == promise else brief.summary
    return join_sentences([summary, phrase.format(heading=brief.heading)])
