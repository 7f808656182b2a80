"""The structure of a source: its title, what opens it, and its sections within sections."""
# ruff: noqa: RUF001

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

from jobs.writing.language import same_key
from jobs.writing.markdown import Block, plain, read_blocks, table_cells
from jobs.writing.plain_headings import promote_headings
from jobs.writing.sentences import (
    clip,
    cut,
    is_statement,
    lead_passage,
    lead_sentence,
    one_line,
    split_sentences,
)
from jobs.writing.sources import ContextFile, stem_of
from jobs.writing.topics import split_topics

_CONTENTS = frozenset(
    same_key(heading)
    for heading in (
        "contents",
        "table of contents",
        "toc",
        "inhalt",
        "inhaltsverzeichnis",
        "sommaire",
        "table des matières",
        "índice",
        "contenido",
        "содержание",
        "оглавление",
        "目录",
        "目次",
    )
)
_MAX_ITEMS = 6
_MAX_FRAGMENT = 80
_MAX_ROW = 2_000
# A section's summary is looked for in so many of its blocks.
_MAX_BLOCKS = 60


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, the blocks right below it, and the sections within it."""

    heading: str
    blocks: tuple[Block, ...]
    sections: tuple["Section", ...] = ()


@dataclass(frozen=True, slots=True)
class Structure:
    """A source: its own title ("" if it has none), its opening blocks, and its sections."""

    name: str
    title: str
    opening: tuple[Block, ...]
    sections: tuple[Section, ...]


def read_structure(file: ContextFile) -> Structure:
    """The structure of a Markdown or plain text; text without headings is split by topic."""
    blocks = read_blocks(file.text)
    if not _has_headings(blocks):
        blocks = read_blocks(promote_headings(file.text))
    opening, sections = _split(blocks)
    title = ""
    if _is_title(sections):
        title, opening = sections[0].heading, opening + sections[0].blocks
        sections = sections[0].sections
    if not sections:
        opening, sections = _by_topic(opening)
    return Structure(file.name, title, opening, sections)


def title_of(structure: Structure) -> str:
    """The source's title, or one made from its name."""
    return structure.title or stem_of(structure.name)


def summary_of(blocks: Sequence[Block], heading: str = "") -> str:
    """A sentence or two lifted from the blocks, without markup; "" if they say nothing.

    What the heading already says is not said again, if there is anything else.
    """
    blocks = blocks[:_MAX_BLOCKS]
    for place, block in enumerate(blocks):
        if block.kind == "paragraph" and (summary := _lifted(blocks, place, heading)):
            return summary
    if items := [plain(block.text) for block in blocks if block.kind == "item"]:
        return _listed(items)
    fragments = [_fragment(block) for block in blocks]
    return next(filter(None, fragments), "")


def prose_of(blocks: Sequence[Block]) -> str:
    """The blocks' paragraphs as one text, without markup."""
    return " ".join(plain(block.text) for block in blocks if block.kind == "paragraph")


def _has_headings(blocks: Sequence[Block]) -> bool:
    return any(block.kind == "heading" for block in blocks)


def _split(blocks: Sequence[Block]) -> tuple[tuple[Block, ...], tuple[Section, ...]]:
    heads = [place for place, block in enumerate(blocks) if block.kind == "heading"]
    flat = [
        (blocks[head].level, Section(blocks[head].text, tuple(blocks[head + 1 : end])))
        for head, end in pairwise([*heads, len(blocks)])
    ]
    opening = tuple(blocks[: heads[0]]) if heads else tuple(blocks)
    return opening, _nested([pair for pair in flat if same_key(pair[1].heading) not in _CONTENTS])


def _nested(flat: Sequence[tuple[int, Section]]) -> tuple[Section, ...]:
    """Sections within sections; a level that is left out counts as if it were there."""
    tops: list[int] = []
    for place, (level, _) in enumerate(flat):
        if not tops or level <= flat[tops[-1]][0]:
            tops.append(place)
    return tuple(
        Section(flat[top][1].heading, flat[top][1].blocks, _nested(flat[top + 1 : end]))
        for top, end in pairwise([*tops, len(flat)])
    )


def _is_title(sections: Sequence[Section]) -> bool:
    return len(sections) == 1 and bool(sections[0].sections or not sections[0].blocks[40:])


def _by_topic(blocks: tuple[Block, ...]) -> tuple[tuple[Block, ...], tuple[Section, ...]]:
    topics = split_topics(tuple(block for block in blocks if block.text))
    if not topics:
        return blocks, ()
    return (), tuple(Section(topic.heading, topic.blocks) for topic in topics)


def _lifted(blocks: Sequence[Block], place: int, heading: str) -> str:
    text = plain(blocks[place].text)
    lead = lead_sentence(split_sentences(text))
    if is_statement(lead):
        return lead_passage(text, heading)
    if lead.endswith((":", "：")):
        return _lead_in(lead, blocks[place + 1 :])
    return ""


def _lead_in(lead: str, following: Sequence[Block]) -> str:
    items = _items(following)
    if following and following[0].kind == "table":
        told = _rows(following[0].text.split("\n"), cells=1)
    else:
        told = _listed(items) if items else next(iter(map(_fragment, following[:1])), "")
    return f"{lead} {told}" if told else lead.rstrip(":：") + "."


def _items(blocks: Sequence[Block]) -> list[str]:
    run = takewhile(lambda block: block.kind == "item", blocks)
    return [plain(block.text) for block in run]


def _listed(items: Sequence[str]) -> str:
    """Items that are sentences, as many as fit; else the first of them as an enumeration."""
    if all(map(is_statement, items[:2])):
        whole = [f"{one_line(item).rstrip('.;,。；')}." for item in items[:_MAX_ITEMS]]
        return clip(" ".join(whole))
    return _enumerated(items)


def _enumerated(items: Sequence[str]) -> str:
    first = [cut(one_line(item).rstrip(".;,。；"), _MAX_FRAGMENT) for item in items[:_MAX_ITEMS]]
    return "; ".join(first) + (" …" if len(items) > _MAX_ITEMS else ".")


def _fragment(block: Block) -> str:
    """What stands in for a sentence where there is none: a command, a column, a few words."""
    lines = [line for line in block.text.split("\n") if line.strip()]
    if not lines:
        return ""
    if block.kind == "table":
        return _rows(lines, cells=2)
    if block.kind == "code":
        return _command(lines)
    return clip(plain(block.text))


def _rows(lines: Sequence[str], cells: int) -> str:
    """The first cells of a table's rows, each row as one item."""
    rows = [table_cells(line[:_MAX_ROW])[:cells] for line in lines[2 : 2 + _MAX_ITEMS + 1]]
    items = [": ".join(filter(None, row)) for row in rows]
    return _enumerated(list(filter(None, items))) if any(items) else ""


def _command(lines: Sequence[str]) -> str:
    """The first command of a code block; "" if it goes on over lines."""
    said = [line.strip().removeprefix("$ ") for line in lines if not line.lstrip().startswith("#")]
    if not said or said[0].endswith(("[", "(", "{", "\\", ":", ",")):
        return ""
    return cut(one_line(said[0]), _MAX_FRAGMENT)
