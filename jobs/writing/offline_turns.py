"""What the offline chat model says next: which tools it calls, and its answers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from jobs.writing.extract import outline_for
from jobs.writing.offline_sections import write_section
from jobs.writing.outline import to_markdown
from jobs.writing.prompts import OutlineBrief, SectionBrief, read_brief
from jobs.writing.sources import ContextFile

# Sources up to so many pages are read whole; of longer ones the outline is asked for.
_MAX_PAGES = 4
_MAX_SOURCES = 40


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool to call, with its arguments."""

    name: str
    args: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """One reply: text, and the tools to call after it."""

    text: str
    tools: tuple[ToolUse, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class _ToolResult:
    name: str
    args: dict[str, Any]
    content: str


def next_turn(messages: Sequence[BaseMessage], tool_names: Sequence[str]) -> Turn:
    """The reply to a conversation. Only tools that are bound are called.

    A conversation without one of our briefs gets the outline of its last human message.
    """
    place, brief = _last_brief(messages)
    results = _results(messages[place:])
    if isinstance(brief, SectionBrief):
        return _section_turn(brief, results, tool_names)
    if isinstance(brief, OutlineBrief):
        return _outline_turn(brief, results, tool_names)
    said = [message for message in messages if isinstance(message, HumanMessage)]
    return Turn(to_markdown(outline_for(str(said[-1].text) if said else "", ())))


def _last_brief(messages: Sequence[BaseMessage]) -> tuple[int, OutlineBrief | SectionBrief | None]:
    for place in range(len(messages) - 1, -1, -1):
        message = messages[place]
        if isinstance(message, HumanMessage) and (brief := read_brief(str(message.text))):
            return place, brief
    return 0, None


def _results(messages: Sequence[BaseMessage]) -> list[_ToolResult]:
    calls = {
        call["id"]: call
        for message in messages
        if isinstance(message, AIMessage)
        for call in message.tool_calls
    }
    return [
        _ToolResult(call["name"], call["args"], _content(message))
        for message in messages
        if isinstance(message, ToolMessage) and (call := calls.get(message.tool_call_id))
    ]


def _content(message: ToolMessage) -> str:
    return str(message.text) if message.status == "success" else ""


def _outline_turn(
    brief: OutlineBrief, results: Sequence[_ToolResult], tool_names: Sequence[str]
) -> Turn:
    called = {result.name for result in results}
    if "list_sources" in tool_names and not called:
        return Turn("I look at what sources there are. ", (ToolUse("list_sources", {}),))
    reading = tuple(use for use in _reading(results) if use.name in tool_names)
    if reading and called == {"list_sources"}:
        return Turn("I read them before I plan. ", reading)
    outline = outline_for(brief.task, _files(results))
    return Turn(json.dumps(outline, ensure_ascii=False, indent=2))


def _reading(results: Sequence[_ToolResult]) -> list[ToolUse]:
    uses: list[ToolUse] = []
    for source in _listed_sources(results)[:_MAX_SOURCES]:
        name, pages = source.get("name"), source.get("pages")
        if not isinstance(pages, int) or pages > _MAX_PAGES:
            uses.append(ToolUse("outline_source", {"name": name}))
        else:
            uses += [
                ToolUse("read_source", {"name": name, "page": page + 1}) for page in range(pages)
            ]
    return uses


def _listed_sources(results: Sequence[_ToolResult]) -> list[dict[str, Any]]:
    listed = [_json_list(result.content) for result in results if result.name == "list_sources"]
    return listed[-1] if listed else []


def _json_list(text: str) -> list[dict[str, Any]]:
    try:
        value = json.loads(text)
    except ValueError:
        return []
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _files(results: Sequence[_ToolResult]) -> list[ContextFile]:
    texts: dict[str, str] = {}
    for result in results:
        name = str(result.args.get("name", ""))
        if result.name == "read_source":
            texts[name] = texts.get(name, "") + result.content.partition("\n")[2]
        elif result.name == "outline_source":
            texts[name] = result.content
    return [ContextFile(name, text) for name, text in texts.items()]


def _section_turn(
    brief: SectionBrief, results: Sequence[_ToolResult], tool_names: Sequence[str]
) -> Turn:
    if "find_passages" not in tool_names:
        return Turn(write_section(brief, None))
    found = [_json_list(result.content) for result in results if result.name == "find_passages"]
    if not found:
        return _search(brief, brief.heading, "I look for what the sources say on this. ")
    if not any(found) and len(found) == 1 and brief.summary:
        return _search(brief, brief.summary, "Nothing under these words; I try the summary. ")
    return Turn(write_section(brief, [passage for passages in found for passage in passages]))


def _search(brief: SectionBrief, query: str, thought: str) -> Turn:
    args = {"query": query, "heading": brief.heading}
    return Turn(thought, (ToolUse("find_passages", args),))
