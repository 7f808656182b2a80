"""Outlines: checking one from outside, numbering, cutting to size, and walking.

An outline is JSON-able: ``{"title": str, "sections": [section, …]}``, a section being
``{"id": "1.2", "heading": str, "summary": str, "sections": [section, …]}``, at most
`MAX_DEPTH` levels deep. Ids say the place: the second section within the first is "1.2".
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.writing.errors import OutlineError

Outline = dict[str, Any]

MAX_DEPTH = 3
MAX_SECTIONS = 60
MAX_HEADING = 200
MAX_SUMMARY = 1_000
_MAX_REPLY = 500_000
_MAX_ATTEMPTS = 50
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\ud800-\udfff]")
_THINKING = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class OutlineSection:
    """One section of an outline, out of its nest. `path` holds the headings above it."""

    id: str
    level: int
    heading: str
    summary: str
    path: tuple[str, ...]
    subheadings: tuple[str, ...]


def parse_outline(value: object) -> Outline:
    """The value as an outline: checked, on clean lines, numbered by place.

    `summary`, `sections` and `id` may be missing; ids are given anew; other keys are dropped.
    Raises OutlineError, which names the bad path.
    """
    outline = _mapping(value, "outline")
    title = _line(outline, "title", "outline", MAX_HEADING)
    sections = _sections(outline, "outline", 1, "")
    if not sections:
        raise OutlineError("outline.sections", "is empty; an outline has at least one section")
    return {"title": title, "sections": sections}


def parse_reply(text: str) -> Outline:
    """The outline in a chat model's reply, with or without code fences and text around it.

    Raises OutlineError.
    """
    found = [value for value in _json_objects(text) if isinstance(value, dict)]
    for value in found:
        if isinstance(value.get("outline"), dict):
            return parse_outline(value["outline"])
        if "sections" in value:
            return parse_outline(value)
    if found:
        return parse_outline(found[0])
    raise OutlineError("outline", "there is no JSON object in the reply")


def limit_outline(outline: Outline, most: int = MAX_SECTIONS) -> Outline:
    """The outline with at most `most` sections.

    The deepest sections are merged into the one above, then the last main sections into one.
    The summary of what took them in names them.
    """
    outline = parse_outline(outline)
    for depth in range(MAX_DEPTH, 1, -1):
        if count_sections(outline) > most:
            outline = {**outline, "sections": _merged(outline["sections"], depth - 1)}
    if count_sections(outline) > most:
        outline = {**outline, "sections": _cut(outline["sections"], most)}
    return parse_outline(outline)


def walk(outline: Outline) -> Iterator[OutlineSection]:
    """All sections of a parsed outline in reading order, those above before those within."""
    return _walk(outline["sections"], ())


def count_sections(outline: Outline) -> int:
    """How many sections, on all levels."""
    return sum(1 for _ in walk(outline))


def to_markdown(outline: Outline) -> str:
    """The outline as a nested Markdown list under its title."""
    lines = [f"# {outline['title']}", ""]
    for section in walk(outline):
        summary = f": {section.summary}" if section.summary else ""
        lines.append(f"{'  ' * (section.level - 1)}- **{section.heading}**{summary}")
    return "\n".join(lines)


def _mapping(value: object, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise OutlineError(path, f"must be an object, not {_type_of(value)}")
    return value


def _sections(parent: Mapping[str, Any], path: str, level: int, above: str) -> list[dict[str, Any]]:
    value = parent.get("sections")
    path = f"{path}.sections"
    if value is None and level > 1:
        return []
    if not isinstance(value, list | tuple):
        raise OutlineError(path, f"must be a list of sections, not {_type_of(value)}")
    if value and level > MAX_DEPTH:
        raise OutlineError(path, f"is too deep; an outline has at most {MAX_DEPTH} levels")
    return [
        _section(item, f"{path}[{place}]", level, f"{above}{place + 1}")
        for place, item in enumerate(value)
    ]


def _section(value: object, path: str, level: int, number: str) -> dict[str, Any]:
    section = _mapping(value, path)
    return {
        "id": number,
        "heading": _line(section, "heading", path, MAX_HEADING),
        "summary": _line({"summary": "", **section}, "summary", path, MAX_SUMMARY, empty=True),
        "sections": _sections(section, path, level + 1, f"{number}."),
    }


def _line(parent: Mapping[str, Any], key: str, path: str, most: int, *, empty: bool = False) -> str:
    value = parent.get(key)
    path = f"{path}.{key}"
    if value is None and empty:
        return ""
    if not isinstance(value, str):
        raise OutlineError(path, f"must be a string, not {_type_of(value)}")
    line = " ".join(_CONTROL.sub(" ", value).split())
    if not line and not empty:
        raise OutlineError(path, "is empty")
    if len(line) > most:
        raise OutlineError(path, f"is longer than {most} characters")
    return line


def _type_of(value: object) -> str:
    return "missing" if value is None else type(value).__name__


def _json_objects(text: str) -> Iterator[object]:
    """What can be read as JSON from an opening brace on; what it holds is not read again."""
    text = _THINKING.sub("", text[:_MAX_REPLY])
    decoder = json.JSONDecoder()
    start = text.find("{")
    for _ in range(_MAX_ATTEMPTS):
        if start == -1:
            return
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
            continue
        yield value
        start = text.find("{", end)


def _merged(sections: Sequence[dict[str, Any]], depth: int) -> list[dict[str, Any]]:
    """The sections with nothing below `depth` levels."""
    if depth > 1:
        return [{**s, "sections": _merged(s["sections"], depth - 1)} for s in sections]
    return [
        {**s, "summary": _with_names(s["summary"], s["sections"]), "sections": []} for s in sections
    ]


def _cut(sections: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    kept, rest = sections[: most - 1], sections[most - 1 :]
    heading = f"{rest[0]['heading']} … {rest[-1]['heading']}"[:MAX_HEADING]
    last = {"heading": heading, "summary": _with_names("", rest), "sections": []}
    return [*kept, last]


def _with_names(summary: str, sections: Sequence[dict[str, Any]]) -> str:
    names: list[str] = []
    for place, section in enumerate(sections):
        left = f"… (+{len(sections) - place})"
        if len(summary) + sum(map(len, names)) + len(section["heading"]) > MAX_SUMMARY // 2:
            names.append(left)
            break
        names.append(f"{section['heading']}; ")
    listed = "".join(names).removesuffix("; ")
    return f"{summary} ({listed})" if summary and listed else summary or listed


def _walk(sections: Sequence[dict[str, Any]], path: tuple[str, ...]) -> Iterator[OutlineSection]:
    for section in sections:
        below = tuple(inner["heading"] for inner in section["sections"])
        yield OutlineSection(
            id=section["id"],
            level=len(path) + 1,
            heading=section["heading"],
            summary=section["summary"],
            path=path,
            subheadings=below,
        )
        yield from _walk(section["sections"], (*path, section["heading"]))
