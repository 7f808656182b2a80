"""The text files that a person gives as context."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# 2 M characters is about 700 printed pages; what is beyond is not read.
MAX_CHARACTERS = 2_000_000
# A page of 16,000 characters stays below the 256 KiB of an event even at 4 bytes each.
PAGE_CHARACTERS = 16_000
_BINARY_SAMPLE = 4_096
_BINARY_SHARE = 0.1
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\ufffe\uffff\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ContextFile:
    """One text file: its name as the person knows it, and its text."""

    name: str
    text: str


def clean_text(text: str) -> str:
    """The text with plain newlines and without control characters.

    Text that looks like binary data (over 10 % of control or replacement characters) is "".
    Only the first `MAX_CHARACTERS` are kept.
    """
    text = text[:MAX_CHARACTERS]
    if _looks_binary(text[:_BINARY_SAMPLE]):
        return ""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def clean_files(files: Iterable[ContextFile]) -> tuple[ContextFile, ...]:
    """The files with clean text, and each with a name of its own."""
    cleaned: dict[str, ContextFile] = {}
    for file in files:
        name = _free_name(_one_line(file.name) or "untitled", cleaned)
        cleaned[name] = ContextFile(name, clean_text(file.text))
    return tuple(cleaned.values())


def split_pages(text: str) -> list[str]:
    """The text in pages of at most `PAGE_CHARACTERS`, cut at line ends where there are any."""
    pages = []
    start = 0
    while start < len(text):
        end = _page_end(text, start)
        pages.append(text[start:end])
        start = end
    return pages


def stem_of(name: str) -> str:
    """A title made from a file's name: ``notes/tea_trade.md`` is ``Tea trade``."""
    base = re.split(r"[/\\]", name)[-1]
    stem = base.rpartition(".")[0] or base
    words = re.sub(r"[_\s-]+", " ", stem).strip()
    return words[:1].upper() + words[1:]


def names_of(files: Sequence[ContextFile]) -> list[str]:
    """The files' names, in order."""
    return [file.name for file in files]


def _looks_binary(sample: str) -> bool:
    odd = len(_CONTROL.findall(sample)) + sample.count("\ufffd")
    return odd > len(sample) * _BINARY_SHARE


def _one_line(text: str) -> str:
    return " ".join(_CONTROL.sub("", text).split())[:200]


def _free_name(name: str, taken: Iterable[str]) -> str:
    names = set(taken)
    candidate, number = name, 2
    while candidate in names:
        candidate, number = f"{name} ({number})", number + 1
    return candidate


def _page_end(text: str, start: int) -> int:
    end = start + PAGE_CHARACTERS
    if end >= len(text):
        return len(text)
    newline = text.rfind("\n", start + PAGE_CHARACTERS // 2, end)
    return newline + 1 if newline != -1 else end
