"""The tools with which a chat model reads the context files."""

import json
from collections.abc import Callable, Sequence
from functools import cached_property

from langchain_core.tools import BaseTool, StructuredTool, ToolException

from jobs.writing.extract import condensed
from jobs.writing.passages import PassageIndex, passage_as_json
from jobs.writing.sources import ContextFile, clean_files, names_of, split_pages
from jobs.writing.structure import Structure, read_structure

# As much as two pages, so that a tool's result stays far below the limit of an event.
_MAX_OUTLINE = 32_000


class SourceShelf:
    """The context files as a model sees them: named, in pages, and searchable.

    What takes time, reading their structure, is done when it is first asked for.
    """

    def __init__(self, files: Sequence[ContextFile]) -> None:
        self.files = {file.name: file for file in clean_files(files)}

    def list_sources(self) -> str:
        """List the sources: their names, lengths in characters, and numbers of pages."""
        return json.dumps(
            [
                {"name": name, "characters": len(file.text), "pages": len(split_pages(file.text))}
                for name, file in self.files.items()
            ],
            ensure_ascii=False,
        )

    def read_source(self, name: str, page: int = 1) -> str:
        """Read one page of a source. Pages are counted from 1."""
        pages = split_pages(self._file(name).text) or [""]
        if not 1 <= page <= len(pages):
            raise ToolException(f"{name} has the pages 1 to {len(pages)}; there is no page {page}.")
        return f"[{name}, page {page} of {len(pages)}]\n{pages[page - 1]}"

    def outline_source(self, name: str) -> str:
        """Get the headings of a source, each with a summary. Use it for a source of many pages."""
        self._file(name)
        return condensed(self._structures[name])[:_MAX_OUTLINE]

    def find_passages(self, query: str, heading: str = "") -> str:
        """Find the passages that deal with the query; those under the heading, if given, first."""
        passages = self._index.find(query, heading=heading)
        return json.dumps([passage_as_json(passage) for passage in passages], ensure_ascii=False)

    def _file(self, name: str) -> ContextFile:
        if name not in self.files:
            known = ", ".join(names_of(tuple(self.files.values())))
            raise ToolException(f"There is no source named {name!r}. The sources are: {known}.")
        return self.files[name]

    @cached_property
    def _structures(self) -> dict[str, Structure]:
        return {name: read_structure(file) for name, file in self.files.items()}

    @cached_property
    def _index(self) -> PassageIndex:
        return PassageIndex(tuple(self._structures.values()))


def outline_tools(shelf: SourceShelf) -> list[BaseTool]:
    """The tools for planning; none if there is nothing to read."""
    functions = (shelf.list_sources, shelf.read_source, shelf.outline_source, shelf.find_passages)
    return [_tool(function) for function in functions] if shelf.files else []


def section_tools(shelf: SourceShelf) -> list[BaseTool]:
    """The tools for writing; none if there is nothing to read."""
    functions = (shelf.find_passages, shelf.list_sources, shelf.read_source)
    return [_tool(function) for function in functions] if shelf.files else []


def _tool(function: Callable[..., str]) -> BaseTool:
    tool = StructuredTool.from_function(function)
    # A wrong name or page is told to the model, which may then do better; it ends no job.
    tool.handle_tool_error = True
    return tool
