"""Documents: cleaning a section's text and putting the sections together.

A document is JSON-able: ``{"title": str, "sections": [{"id": "1.2", "level": 2, "heading": str,
"text": str}, …], "markdown": str}``; its sections are flat, in reading order.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jobs.writing.language import same_key
from jobs.writing.outline import OutlineSection

Document = dict[str, Any]

_THINKING = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_WRAPPED = re.compile(r"^```(?:markdown|md|text)?[ \t]*\n(?P<text>.*)\n```$", re.DOTALL)
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(?P<words>.*?\S)[ \t]*#*[ \t]*$")
_FENCE = re.compile(r"^[ \t]*(```|~~~)")
_MAX_LINE = 400


def section_of(section: OutlineSection, reply: str) -> dict[str, Any]:
    """A finished section from a model's reply."""
    return {
        "id": section.id,
        "level": section.level,
        "heading": section.heading,
        "text": clean_reply(reply, section.heading),
    }


def clean_reply(reply: str, heading: str) -> str:
    """A reply's text alone: no thinking, no fence around it, no heading that breaks the document.

    The section's own heading is dropped; other headings become bold lines.
    """
    text = _THINKING.sub("", reply).strip()
    if wrapped := _WRAPPED.match(text):
        text = wrapped["text"]
    lines = text.strip().split("\n")
    if lines[0].lstrip().startswith(("#", "**")) and same_key(lines[0]) == same_key(heading):
        lines = lines[1:]
    return "\n".join(_without_headings(lines)).strip()


def to_markdown(title: str, sections: Sequence[Mapping[str, Any]]) -> str:
    """The document as one Markdown text."""
    parts = [f"# {title}"]
    for section in sections:
        parts.append(f"{'#' * (section['level'] + 1)} {section['heading']}")
        if section["text"]:
            parts.append(section["text"])
    return "\n\n".join(parts) + "\n"


def assemble(title: str, sections: Sequence[dict[str, Any]]) -> Document:
    """The whole document."""
    return {
        "title": title,
        "sections": list(sections),
        "markdown": to_markdown(title, sections),
    }


def _without_headings(lines: Sequence[str]) -> list[str]:
    kept: list[str] = []
    fence = ""
    for line in lines:
        opening = _FENCE.match(line)
        if opening and fence in {"", opening.group(1)}:
            fence = "" if fence else opening.group(1)
        found = None if fence else _HEADING.match(line[:_MAX_LINE])
        kept.append(f"**{found['words']}**" if found else line)
    return kept
