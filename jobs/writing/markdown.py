"""Reading Markdown as a list of blocks, and taking its markup off. Every step is linear.

Only what an outline or a quotation needs is told apart: headings, paragraphs, list items, code
and tables (CommonMark 0.31 and the tables of GFM). Comments, images, badges, link targets, HTML
tags and footnote marks are dropped.
"""
# ruff: noqa: RUF001

import html
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

BlockKind = Literal["heading", "paragraph", "item", "code", "table"]
MAX_HEADING = 160
# No heading, rule or table border is longer; what is beyond is not looked at.
_MAX_LINE = 2_000

# Quantifiers are possessive or bounded, so that no input makes a match go back and forth.
_FENCE = re.compile(r"^[ \t>]*+(`{3,}+|~{3,}+)([^`]*+)$")
_ATX = re.compile(r"^ {0,3}(#{1,6})(?=[ \t]|$)")
_SETEXT = re.compile(r"^ {0,3}(=+|-+)[ \t]*$")
_RULE = re.compile(r"^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$")
_DELIMITER_ROW = re.compile(
    r"^[ \t]*+\|?[ \t]*+:?-++:?[ \t]*+(?:\|[ \t]*+:?-++:?[ \t]*+)*+\|?[ \t]*+$"
)
_ITEM = re.compile(r"^[ \t]*(?:[-*+•]|\d{1,9}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?(?=\S)")
_LINK_DEFINITION = re.compile(r"^ {0,3}\[[^\[\]]{1,200}\]:[ \t]*\S")
_HTML_HEADING = re.compile(r"^[ \t]*<h([1-6])\b[^<>]{0,300}>", re.IGNORECASE)
_QUOTE = re.compile(r"^ {0,3}(?:>[ \t]?)+(?:\[![A-Za-z]+\][ \t]*$)?")

_MARKUP = re.compile(r"[`*_\[\]<>\\~&\x00]")
_CODE_SPAN = re.compile(r"(?<!`)(`{1,3})(?!`)([^`\n]{1,500})(?<!`)\1(?!`)")
_TARGET = r"(?:\([^()\s]{0,1000}(?:\s[^()]{0,300})?\)|\[[^\[\]]{0,100}\])"
_IMAGE = re.compile(rf"!\[[^\[\]]{{0,300}}\]{_TARGET}")
_LINK = re.compile(rf"\[([^\[\]]{{0,300}})\]{_TARGET}")
_FOOTNOTE = re.compile(r"\[\^[^\[\]]{1,50}\]:?")
_AUTOLINK = re.compile(r"<((?:https?://|mailto:)[^<>\s]{1,1000})>")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,500}>")
_EMPHASIS = re.compile(
    r"\*{2,3}(?=[^\s*])|(?<=[^\s*])\*{2,3}|~~"
    r"|(?<![\w*])\*(?=[\w\"'“‘(\[\x00])|(?<=[\w\"'”’.,!?)\]:;\x00])\*(?![\w*])"
    r"|(?<!\w)_{1,3}+(?=[^\W_])|(?<=[^\W_])_{1,3}+(?!\w)"
)
_SHORTCODE = re.compile(r"(?<!\w):[a-z][a-z0-9_+-]{1,30}:(?!\w)")
_ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+\-.!|<>~])")
_HELD = re.compile(r"\x00(\d+)\x00")


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a text. `text` is tidied, save for code and tables, which are as they stood.

    `level` is 1 to 6 for a heading, else 0; `info` is the language after a code fence.
    """

    kind: BlockKind
    text: str
    level: int = 0
    info: str = ""


def read_blocks(text: str) -> tuple[Block, ...]:
    """The blocks of a Markdown text, in order. Any text can be read; none raises."""
    return tuple(_Scanner(_without_front_matter(text.split("\n"))).scan())


def tidy(text: str) -> str:
    """Markdown without images, HTML, link targets and emphasis; code spans and escapes stay."""
    if not _MARKUP.search(text):
        return " ".join(text.split())
    held: list[str] = []

    def hold(match: re.Match[str]) -> str:
        held.append(match.group())
        return f"\x00{len(held) - 1}\x00"

    bare = _ESCAPE.sub(hold, _CODE_SPAN.sub(hold, text.replace("\x00", "")))
    bare = _IMAGE.sub("", bare)
    bare = _LINK.sub(r"\1", bare)
    bare = _AUTOLINK.sub(r"\1", _FOOTNOTE.sub("", bare))
    bare = _EMPHASIS.sub("", _TAG.sub("", bare))
    return " ".join(_HELD.sub(lambda match: _held(held, match), bare).split())


def plain(text: str) -> str:
    """Text with no markup at all."""
    if not _MARKUP.search(text):
        return " ".join(text.split())
    bare = _ESCAPE.sub(r"\1", _CODE_SPAN.sub(r"\2", tidy(text)))
    return html.unescape(bare)


def table_cells(row: str) -> list[str]:
    """The cells of a table's row, without markup."""
    cells = row.strip().strip("|").replace("\\|", "\x01").split("|")
    return [plain(cell).replace("\x01", "|") for cell in cells]


def _held(held: list[str], match: re.Match[str]) -> str:
    return held[int(match.group(1))]


def _without_front_matter(lines: list[str]) -> list[str]:
    if lines and lines[0].strip() == "---":
        body = list(takewhile(lambda line: line.strip() != "---", lines[1:200]))
        if len(body) < len(lines[1:200]) and any(":" in line for line in body):
            return lines[len(body) + 2 :]
    return lines


class _Scanner:
    """One pass over the lines. Each step eats at least one line and says which comes next."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.blocks: list[Block] = []
        self.pending: list[str] = []
        self.kind: Literal["paragraph", "item"] = "paragraph"
        self.comments_end = True

    def scan(self) -> list[Block]:
        place = 0
        while place < len(self.lines):
            place = self._step(place)
        self._flush()
        return self.blocks

    def _step(self, place: int) -> int:
        readers: Iterable[Callable[[int], int]] = (
            self._fence,
            self._comment,
            self._table,
            self._heading,
            self._html_heading,
            self._indented_code,
            self._separator,
        )
        for reader in readers:
            if (following := reader(place)) > place:
                return following
        self._text(place)
        return place + 1

    def _flush(self) -> None:
        text = tidy("\n".join(self.pending))
        # What begins with two dots is a directive of reStructuredText, such as an image.
        if text and not text.startswith(".. "):
            self.blocks.append(Block(self.kind, text))
        self.pending = []

    def _add(self, kind: BlockKind, text: str, level: int = 0, info: str = "") -> None:
        self._flush()
        if text:
            self.blocks.append(Block(kind, text, level, info))
        self.kind = "paragraph"

    def _fence(self, place: int) -> int:
        if not (opening := _FENCE.match(self.lines[place])):
            return place
        fence = opening.group(1)
        end = place + 1
        while end < len(self.lines) and not _closes(self.lines[end], fence):
            end += 1
        code = "\n".join(self.lines[place + 1 : end]).strip("\n")
        self._add("code", code, info=_info(opening.group(2)))
        return end + 1

    def _comment(self, place: int) -> int:
        line = self.lines[place] = _without_comments(self.lines[place])
        before, opening, _ = line.partition("<!--")
        if not opening or not self.comments_end or before.endswith("`"):
            return place
        for end in range(place + 1, len(self.lines)):
            if "-->" in self.lines[end]:
                # What follows the comment is read as if the comment had never stood there.
                self.lines[end] = before + self.lines[end].partition("-->")[2]
                return end
        self.comments_end = False
        return place

    def _table(self, place: int) -> int:
        following = self.lines[place + 1] if place + 1 < len(self.lines) else ""
        if "|" not in self.lines[place] or "-" not in following:
            return place
        if not _DELIMITER_ROW.match(following[:_MAX_LINE]):
            return place
        end = place + 2
        while end < len(self.lines) and "|" in self.lines[end]:
            end += 1
        self._add("table", "\n".join(line.strip() for line in self.lines[place:end]))
        return end

    def _heading(self, place: int) -> int:
        line = self.lines[place]
        if opening := _ATX.match(line):
            text = _heading_text(_without_closing_hashes(line[opening.end() :][:_MAX_LINE]))
            self._add("heading", text, len(opening.group(1)))
            return place + 1
        underline = _SETEXT.match(line[:_MAX_LINE])
        if underline and self._is_underlinable():
            text, self.pending = self.pending[0], []
            self._add("heading", _heading_text(text), 1 if "=" in underline.group(1) else 2)
            return place + 1
        return place

    def _is_underlinable(self) -> bool:
        one_line = len(self.pending) == 1 and len(self.pending[0]) <= MAX_HEADING
        return one_line and self.kind == "paragraph" and not self.pending[0].startswith(">")

    def _html_heading(self, place: int) -> int:
        if not (opening := _HTML_HEADING.match(self.lines[place])):
            return place
        closing = f"</h{opening.group(1)}"
        for end in range(place, min(place + 6, len(self.lines))):
            if closing in self.lines[end].lower():
                text = " ".join(self.lines[place : end + 1])[:_MAX_LINE]
                self._add("heading", _heading_text(text), int(opening.group(1)))
                return end + 1
        return place

    def _indented_code(self, place: int) -> int:
        in_list = bool(self.blocks) and self.blocks[-1].kind == "item"
        if self.pending or in_list or not _is_indented(self.lines[place]):
            return place
        end = place
        while end < len(self.lines) and _is_indented_or_blank(self.lines[end]):
            end += 1
        code = (line[4:].rstrip() for line in self.lines[place:end])
        self._add("code", "\n".join(code).strip("\n"))
        return end

    def _separator(self, place: int) -> int:
        line = self.lines[place][:_MAX_LINE]
        if line.strip() and not _RULE.match(line) and not _LINK_DEFINITION.match(line):
            return place
        self._flush()
        self.kind = "paragraph"
        return place + 1

    def _text(self, place: int) -> None:
        line = _QUOTE.sub("", self.lines[place])
        if marker := _ITEM.match(line):
            self._flush()
            self.kind = "item"
            line = line[marker.end() :]
        self.pending.append(line.strip())


def _closes(line: str, fence: str) -> bool:
    stripped = line.strip(" \t>")
    return len(stripped) >= len(fence) and not stripped.strip(fence[0])


def _info(text: str) -> str:
    words = text.split(maxsplit=1)
    return words[0][:30] if words and words[0][:30].isalnum() else ""


def _is_indented(line: str) -> bool:
    return line.startswith(("    ", "\t")) and bool(line.strip())


def _is_indented_or_blank(line: str) -> bool:
    return not line.strip() or _is_indented(line)


def _without_comments(line: str) -> str:
    kept = []
    start = 0
    while (opening := line.find("<!--", start)) != -1:
        if line.startswith("`", opening - 1) or (closing := line.find("-->", opening)) == -1:
            break
        kept.append(line[start:opening])
        start = closing + 3
    return "".join([*kept, line[start:]])


def _without_closing_hashes(text: str) -> str:
    stripped = text.strip()
    bare = stripped.rstrip("#")
    return bare if not bare or bare.endswith((" ", "\t")) else stripped


def _heading_text(text: str) -> str:
    return _SHORTCODE.sub("", plain(text))[:MAX_HEADING].strip(" :：")
