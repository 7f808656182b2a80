"""Headings in plain text: numbered, in capitals, named a chapter, or standing alone."""
# ruff: noqa: RUF001

import re
from dataclasses import dataclass, replace
from itertools import pairwise

from jobs.writing.language import CJK, is_cjk, is_stop_word, raw_words

_MAX_CHARACTERS = 80
_MAX_WORDS = 10
_MAX_CJK = 24
_NUMBERED = re.compile(r"^(\d{1,2}(?:\.\d{1,2}){0,3})[.)]?[ \t]+(?=\S)(?!\d)")
_ROMAN = re.compile(r"^[IVXLC]{1,6}[.)][ \t]+(?=\S)")
_CHAPTER = re.compile(
    r"^(?:chapter|part|section|appendix|kapitel|teil|abschnitt|anhang|chapitre|partie|capítulo"
    r"|parte|глава|часть)[ \t]+[\dIVXLCivxlc]{1,6}\b",
    re.IGNORECASE,
)
_CJK_CHAPTER = re.compile(
    rf"^(?:第[一二三四五六七八九十百零\d]{{1,5}}[章节部分篇回]|[一二三四五六七八九十]{{1,3}}、)[{CJK}\s\w]"
)
_ENDS_LIKE_TEXT = re.compile(r"[.,;:!。，、；：！…]$")
_RULE = re.compile(r"^(?:[-=_*~#][ \t]*){3,}$")


@dataclass(frozen=True, slots=True)
class _Candidate:
    place: int
    level: int
    text: str
    marked: bool


def promote_headings(text: str) -> str:
    """The plain text with its headings marked as Markdown headings; indentation is dropped.

    Headings are marked only if most of them have text below them: else they are a list.
    """
    lines = [line.strip() for line in text.split("\n")]
    found = [c for place in range(len(lines)) if (c := _candidate(lines, place))]
    if not _have_text(found, lines):
        return "\n".join(lines)
    for candidate in _with_title(found, lines):
        lines[candidate.place] = f"\n{'#' * candidate.level} {candidate.text}\n"
    return "\n".join(lines)


def _candidate(lines: list[str], place: int) -> _Candidate | None:
    line = lines[place]
    if not line or len(line) > _MAX_CHARACTERS or _RULE.match(line):
        return None
    if place and lines[place - 1] and not _RULE.match(lines[place - 1]):
        return None
    following = lines[place + 1] if place + 1 < len(lines) else ""
    level, heading = _marked(line)
    if level and not _ENDS_LIKE_TEXT.search(line) and not _marked(following)[0]:
        return _Candidate(place, level, heading, marked=True)
    if _stands_alone(line) and not following:
        return _Candidate(place, 2, heading, marked=False)
    return None


def _marked(line: str) -> tuple[int, str]:
    """The level (0 if nothing marks the line as a heading) and the heading's words."""
    if numbered := _NUMBERED.match(line):
        level = 2 + numbered.group(1).count(".")
        return level, line[numbered.end() :]
    if roman := _ROMAN.match(line):
        return 2, line[roman.end() :]
    if _CHAPTER.match(line) or _CJK_CHAPTER.match(line):
        return 2, line
    if line.isupper() and sum(map(str.isalpha, line)) >= len("PLAN"):
        return 2, _lowered(line)
    return 0, line


def _lowered(line: str) -> str:
    words = line.split()
    small = [w.lower() if is_stop_word(w) and place else w.title() for place, w in enumerate(words)]
    return " ".join(small)


def _stands_alone(line: str) -> bool:
    if _ENDS_LIKE_TEXT.search(line) or not (line[0].isalnum() or line[0] in "“\"'¿"):
        return False
    words = raw_words(line)
    if any(is_cjk(word) for word in words):
        return len(line) <= _MAX_CJK
    return 0 < len(words) <= _MAX_WORDS and not line[0].islower()


def _have_text(found: list[_Candidate], lines: list[str]) -> bool:
    places = [candidate.place for candidate in found]
    with_text = sum(
        any(map(_is_text, lines[place + 1 : end])) for place, end in pairwise([*places, len(lines)])
    )
    return bool(found) and with_text * 2 >= len(found)


def _is_text(line: str) -> bool:
    return bool(_ENDS_LIKE_TEXT.search(line)) or len(line) > _MAX_CHARACTERS // 2


def _with_title(found: list[_Candidate], lines: list[str]) -> list[_Candidate]:
    """The candidates, the first one being the title if it opens the text and is no section."""
    first, *others = found
    if any(lines[: first.place]):
        return found
    if others and first.marked and others[0].marked:
        between = lines[first.place + 1 : others[0].place]
        if any(map(_is_text, between)):
            return found
    return [replace(first, level=1), *others]
