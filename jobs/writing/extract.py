"""From a prompt and its sources to an outline, by extraction: no sentence is invented.

What a summary says stands in a source, or in the prompt where there is no source.
"""

from collections.abc import Sequence
from typing import Any

from jobs.writing.language import keys_of, language_of, same_key
from jobs.writing.markdown import Block, read_blocks
from jobs.writing.outline import MAX_DEPTH, MAX_HEADING, Outline, limit_outline
from jobs.writing.passages import PassageIndex
from jobs.writing.phrases import Phrases, general_outline, phrases_for
from jobs.writing.request import Request, read_request, without_article
from jobs.writing.sentences import clip, cut, is_statement, split_sentences
from jobs.writing.sources import ContextFile, clean_files
from jobs.writing.structure import (
    Section,
    Structure,
    prose_of,
    read_structure,
    summary_of,
    title_of,
)

_MAX_JOINED_TITLE = 90


def outline_for(prompt: str, files: Sequence[ContextFile]) -> Outline:
    """An outline of what the prompt asks for, taken from the files as far as they say it.

    Sections that the prompt names win; then the structure of the files; then a general outline
    of the subject. Any text can be read; none raises.
    """
    request = read_request(prompt)
    structures = read_structures(files)
    if request.sections:
        sections = _named_sections(request, PassageIndex(structures))
    elif structures:
        sections = _source_sections(structures)
    else:
        sections = _general_sections(request)
    title = _title(request, structures)
    return limit_outline({"title": title, "sections": sections or _general_sections(request)})


def read_structures(files: Sequence[ContextFile]) -> list[Structure]:
    """The structures of those files that hold any text."""
    structures = [read_structure(file) for file in clean_files(files) if file.text.strip()]
    return [structure for structure in structures if structure.opening or structure.sections]


def condensed(structure: Structure) -> str:
    """A source as Markdown with a summary in place of each section's text."""
    lines = [f"# {title_of(structure)}", "", summary_of(structure.opening), ""]
    for depth, section in _flat(structure.sections, 2):
        lines += [f"{'#' * min(depth, 6)} {section.heading}", "", _summary(section), ""]
    return "\n".join(lines)


def _flat(sections: Sequence[Section], depth: int) -> list[tuple[int, Section]]:
    return [
        pair
        for section in sections
        for pair in [(depth, section), *_flat(section.sections, depth + 1)]
    ]


def _title(request: Request, structures: Sequence[Structure]) -> str:
    titles = [title_of(structure) for structure in structures]
    if titles and (request.means_source or not request.subject):
        joined = phrases_for(request.language).conjunction.join(titles)
        return _fit(titles[0] if len(joined) > _MAX_JOINED_TITLE else joined)
    if len(structures) != 1 or not structures[0].title:
        return _fit(request.title)
    title = structures[0].title
    if set(keys_of(request.title)) <= set(keys_of(title)):
        return _fit(title)
    joined = f"{title}: {without_article(request.title)}"
    shared = set(keys_of(request.title)) & set(keys_of(title))
    return _fit(request.title if shared or len(joined) > _MAX_JOINED_TITLE else joined)


def _fit(text: str) -> str:
    return cut(text, MAX_HEADING)


def _named_sections(request: Request, index: PassageIndex) -> list[dict[str, Any]]:
    phrases = phrases_for(request.language)
    return [
        _entry(heading, _best_sentence(heading, index) or _promise(phrases, heading, request))
        for heading in request.sections
    ]


def _promise(phrases: Phrases, heading: str, request: Request) -> str:
    return phrases.covers.format(heading=heading, title=request.title)


def _best_sentence(heading: str, index: PassageIndex) -> str:
    keys = set(keys_of(heading))
    passages = index.find(heading, heading=heading)
    sentences = [
        sentence
        for passage in passages
        for sentence in split_sentences(_prose(passage.text))
        if is_statement(sentence)
    ]
    ranked = sorted(sentences, key=lambda sentence: -len(keys & set(keys_of(sentence))))
    return clip(ranked[0]) if ranked else ""


def _prose(text: str) -> str:
    return prose_of(read_blocks(text))


def _general_sections(request: Request) -> list[dict[str, Any]]:
    phrases = phrases_for(request.language)
    return [
        _entry(heading, summary.format(subject=request.subject or phrases.this_subject))
        for heading, summary in general_outline(request.language, request.title)
    ]


def _source_sections(structures: Sequence[Structure]) -> list[dict[str, Any]]:
    if len(structures) == 1:
        return _with_overview(structures[0], MAX_DEPTH)
    return [
        _entry(
            title_of(structure),
            summary_of(structure.opening) or _names(structure.sections),
            [_from_section(section, MAX_DEPTH - 1) for section in structure.sections],
        )
        for structure in structures
    ]


def _with_overview(structure: Structure, depth: int) -> list[dict[str, Any]]:
    sections = [_from_section(section, depth) for section in structure.sections]
    summary = summary_of(structure.opening)
    if not summary:
        return sections
    phrases = phrases_for(language_of(_sample(structure)))
    taken = {same_key(section["heading"]) for section in sections}
    heading = phrases.overview if same_key(phrases.overview) not in taken else title_of(structure)
    return [_entry(heading, summary), *sections]


def _sample(structure: Structure) -> str:
    blocks: list[Block] = [*structure.opening]
    for section in structure.sections[:10]:
        blocks += section.blocks
    return prose_of(blocks[:40])


def _from_section(section: Section, depth: int) -> dict[str, Any]:
    within = [_from_section(inner, depth - 1) for inner in section.sections if depth > 1]
    return _entry(section.heading, _summary(section), within)


def _summary(section: Section) -> str:
    return summary_of(section.blocks, section.heading) or _names(section.sections)


def _names(sections: Sequence[Section]) -> str:
    names = "; ".join(section.heading for section in sections[:8])
    return f"{cut(names, 300)}." if names else ""


def _entry(heading: str, summary: str, sections: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    return {
        "heading": _fit(heading) or "…",
        "summary": cut(summary, 600),
        "sections": list(sections),
    }
