"""Passages of the context files, and the tools with which a chat model reads them.

A passage is ``{"source", "level", "heading", "summary", "text"}``: a heading with the Markdown text
between it and the next heading.
"""
# ruff: noqa: RUF001

import json
import re
from collections.abc import Sequence
from heapq import nlargest
from itertools import pairwise
from typing import Any

from langchain_core.tools import BaseTool, StructuredTool
from markdown_it import MarkdownIt
from markdown_it.token import Token

MAX_HEADINGS = 200
MAX_RESULTS = 3
MAX_LINE_CHARS = 200
MAX_PASSAGE_CHARS = 3_000
CJK = r"\u3040-\u30ff\u3400-\u9fff"  # Chinese and Japanese characters
_SENTENCE_END = re.compile(r"(?<=[.!?])\s|(?<=[。！？])")
_CLAUSE_END = re.compile(r"[.;:!?](?:\s|$)|[。；：！？]")
_TERM = re.compile(rf"(?=([{CJK}]{{2}}))|([^\W{CJK}]{{4,}})")  # pairs of CJK, words of 4 letters


def source_tools(files: Sequence[dict[str, str]]) -> list[BaseTool]:
    """Return the tools that read files of ``{"name", "text"}``; none if there is no text."""
    passages = [passage for file in files for passage in split_passages(file["name"], file["text"])]

    def list_headings() -> str:
        """List the headings of the sources, each with its level and the first sentence below."""
        return _as_json(passages[:MAX_HEADINGS], "source", "level", "heading", "summary")

    def find_passages(query: str) -> str:
        """Find the passages under the heading `query`, then those that share most words with it."""
        best = nlargest(MAX_RESULTS, passages, lambda passage: _score(passage, query))
        found = [passage for passage in best if _score(passage, query)]
        return _as_json(found, "source", "heading", "text")

    functions = (list_headings, find_passages) if passages else ()
    return [StructuredTool.from_function(function) for function in functions]


def split_passages(source: str, text: str) -> list[dict[str, Any]]:
    """Split a Markdown text at its headings, or a text without headings into paragraphs."""
    tokens = MarkdownIt().enable("table").parse(text)
    lines = re.split(r"\r\n?|\n", text)
    tops = [(i, token.type) for i, token in enumerate(tokens) if token.level == 0]
    headings = [i for i, kind in tops if kind == "heading_open"]
    starts = headings or [i for i, kind in tops if kind == "paragraph_open"]
    ranges = pairwise([*starts, len(tokens)])
    return [_passage(source, lines, tokens[start:end]) for start, end in ranges]


def _passage(source: str, lines: Sequence[str], tokens: Sequence[Token]) -> dict[str, Any]:
    is_heading = tokens[0].type == "heading_open"
    maps = [token.map for token in tokens if token.map]
    heading, *below = [_plain(token) for token in tokens if token.type == "inline"]
    heading = heading if is_heading else _CLAUSE_END.split(heading)[0]
    return {
        "source": source,
        "level": int(tokens[0].tag[1:]) if is_heading else 2,
        "heading": heading[:MAX_LINE_CHARS].strip() or source,
        "summary": _SENTENCE_END.split("".join(below[:1]))[0][:MAX_LINE_CHARS],
        "text": "\n".join(lines[maps[0][is_heading] : maps[-1][1]]).strip()[:MAX_PASSAGE_CHARS],
    }


def _plain(inline: Token) -> str:
    return " ".join("".join(child.content or " " for child in inline.children or ()).split())


def _score(passage: dict[str, Any], query: str) -> int:
    is_heading: bool = passage["heading"].casefold() == query.casefold()
    return 1_000 * is_heading + len(_terms(query) & _terms(passage["text"]))


def _terms(text: str) -> set[str]:
    return {term for pair in _TERM.findall(text.casefold()) for term in pair if term}


def _as_json(passages: Sequence[dict[str, Any]], *fields: str) -> str:
    rows = [{field: passage[field] for field in fields} for passage in passages]
    return json.dumps(rows, ensure_ascii=False)
