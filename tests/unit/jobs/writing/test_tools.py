"""The tools with which a model reads the context files."""

import json

import pytest
from langchain_core.tools import ToolException

from jobs.writing.sources import PAGE_CHARACTERS, ContextFile, clean_files, stem_of
from jobs.writing.tools import SourceShelf, outline_tools, section_tools
from tests.unit.jobs.writing.support import sample


def test_the_sources_are_listed_with_their_sizes() -> None:
    shelf = SourceShelf([ContextFile("a.txt", "x" * (PAGE_CHARACTERS + 1)), ContextFile("b", "")])
    assert json.loads(shelf.list_sources()) == [
        {"name": "a.txt", "characters": PAGE_CHARACTERS + 1, "pages": 2},
        {"name": "b", "characters": 0, "pages": 0},
    ]


def test_the_pages_together_are_the_source() -> None:
    text = "".join(f"line {n} {'x' * 70}\n" for n in range(1_000))
    shelf = SourceShelf([ContextFile("a.txt", text)])
    pages = json.loads(shelf.list_sources())[0]["pages"]
    read = [shelf.read_source("a.txt", page + 1).partition("\n")[2] for page in range(pages)]
    assert "".join(read) == text
    assert all(len(page) <= PAGE_CHARACTERS and page.endswith("\n") for page in read)


def test_a_wrong_name_or_page_says_what_there_is() -> None:
    shelf = SourceShelf([ContextFile("a.txt", "text")])
    with pytest.raises(ToolException, match=r"The sources are: a.txt"):
        shelf.read_source("b.txt")
    with pytest.raises(ToolException, match="no page 2"):
        shelf.read_source("a.txt", 2)


def test_a_model_is_told_of_its_mistake() -> None:
    tools = {tool.name: tool for tool in outline_tools(SourceShelf([ContextFile("a.txt", "x")]))}
    call = {"name": "read_source", "args": {"name": "b"}, "id": "1", "type": "tool_call"}
    message = tools["read_source"].invoke(call)
    assert message.status == "error"
    assert "a.txt" in message.content


def test_a_result_stays_far_below_the_limit_of_an_event() -> None:
    book = ContextFile(
        "b.md", "".join(f"# 章{n}\n\n{'茶叶来自中国。' * 300}\n\n" for n in range(400))
    )
    shelf = SourceShelf([book])
    results = [shelf.outline_source("b.md"), shelf.find_passages("茶叶"), shelf.read_source("b.md")]
    assert max(len(result.encode()) for result in results) < 128 * 1024


def test_passages_come_with_their_source_and_headings() -> None:
    shelf = SourceShelf([sample("readme.md"), sample("tea.txt")])
    (passage,) = json.loads(shelf.find_passages("Limits", heading="Limits"))
    assert passage["source"] == "readme.md"
    assert passage["headings"] == ["Running it in production", "Limits"]
    assert passage["text"].startswith("An event may have 256 KiB")


def test_without_files_there_are_no_tools() -> None:
    assert outline_tools(SourceShelf([])) == section_tools(SourceShelf([])) == []


def test_files_of_one_name_are_told_apart() -> None:
    files = clean_files([ContextFile("a", "1"), ContextFile("a", "2"), ContextFile("\n", "3")])
    assert [file.name for file in files] == ["a", "a (2)", "untitled"]


def test_a_name_makes_a_title() -> None:
    assert stem_of("notes/tea_trade-2.md") == "Tea trade 2"
    assert stem_of("README") == "README"
