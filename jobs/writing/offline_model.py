"""Scripted chat model without key or network: replies with text of the prompt and the files."""
# ruff: noqa: RUF001

import json
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any, Self
from uuid import uuid4

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from jobs.writing.outline import MAX_SECTIONS
from jobs.writing.sources import CJK

MAX_LEVEL = 3  # of the headings in an outline
# One or two Chinese or Japanese characters, or a run of other characters.
_TOKEN = re.compile(rf"[{CJK}]{{1,2}}|[^{CJK}]+")
_ITEMS_START = re.compile(r":\s|：|[,，](?:内容)?(?:包括|包含)|,? (?:covering|including) ")
_SEPARATOR = re.compile(r"[,，、;；。\n]|\sand\s|以及|和(?=[^,，、]*$)")
_HEADINGS = {"en": ["Background", "Main points", "Conclusion"], "zh": ["背景", "要点", "总结"]}
_NO_TEXT = {"en": "No file contains text on “{}”.", "zh": "没有文件提到“{}”。"}


class OfflineChatModel(GenericFakeChatModel):
    """Fake chat model that answers the briefs of `graphs`, after one call of a bound tool."""

    messages: Iterator[AIMessage | str] = iter(())
    model_name: str = "offline"
    token_delay: float = 0.0  # seconds before each word
    has_tools: bool = False

    def bind_tools(self, *_: Any, **__: Any) -> Self:
        """Return a model that calls the tools of `sources`."""
        return self.model_copy(update={"has_tools": True})

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        reply = compose_reply(messages, has_tools=self.has_tools)
        return ChatResult(generations=[ChatGeneration(message=reply)])

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for chunk in super()._stream(*args, **kwargs):
            for token in _TOKEN.findall(chunk.text) or [""]:
                time.sleep(self.token_delay if token.strip() else 0)
                yield ChatGenerationChunk(
                    message=chunk.message.model_copy(update={"content": token})
                )


def compose_reply(messages: Sequence[BaseMessage], *, has_tools: bool) -> AIMessage:
    """Return a tool call if the conversation contains no tool result yet, else the answer."""
    inputs = [str(message.text) for message in messages if message.type in {"human", "tool"}]
    brief, *results = map(json.loads, inputs)
    language = "zh" if re.search(f"[{CJK}]", brief["task"]) else "en"
    section = brief.get("section")
    if has_tools and not results:
        if section:
            return _tool_call("find_passages", query=section["heading"])
        return _tool_call("list_headings")
    found = results[0] if results else []
    if section:
        text = _section_text(section, found, brief["written"])
        return AIMessage(text or _NO_TEXT[language].format(section["heading"]))
    outline = _outline(brief["task"], found, language)
    return AIMessage(json.dumps(outline, ensure_ascii=False, indent=2))


def _tool_call(name: str, **arguments: str) -> AIMessage:
    function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
    # GenericFakeChatModel streams additional_kwargs, from which AIMessage parses tool calls.
    call = {"id": f"call_{uuid4().hex}", "index": 0, "type": "function", "function": function}
    return AIMessage("", additional_kwargs={"tool_calls": [call]})


def _outline(task: str, found: Sequence[dict[str, Any]], language: str) -> dict[str, Any]:
    """Outline the headings of the files, else the items of the prompt, else fixed headings."""
    sections = _nest([row for row in found if row["level"] <= MAX_LEVEL][:MAX_SECTIONS])
    if len(sections) == 1 and sections[0]["sections"]:
        return {**sections[0], "title": sections[0]["heading"]}
    title, *listed = _ITEMS_START.split(task.strip(), maxsplit=1)
    items = [item.strip() for item in _SEPARATOR.split("".join(listed)) if item.strip()]
    if not items[1:]:
        title, items = task.strip(), _HEADINGS[language]
    headings = [{"heading": (item[:1].upper() + item[1:])[:80]} for item in items]
    return {
        "title": title.partition("\n")[0][:100],
        "sections": sections or headings[:MAX_SECTIONS],
    }


def _nest(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Move each heading below the last heading of a higher level."""
    sections: list[dict[str, Any]] = []
    for row in rows:
        siblings = sections
        while siblings and siblings[-1]["level"] < row["level"]:
            siblings = siblings[-1]["sections"]
        kept = {key: row[key] for key in ("level", "heading", "summary")}
        siblings.append({**kept, "sections": []})
    return sections


def _section_text(section: dict[str, Any], found: Sequence[dict[str, Any]], written: str) -> str:
    """Return the first passage that the document does not contain yet."""
    below = [subsection["heading"] for subsection in section["sections"]]
    heading = section["heading"].casefold()
    rows = [row for row in found if row["heading"].casefold() == heading or not below]
    texts = (row["text"] for row in rows if row["text"] and row["text"] not in written)
    return str(next(texts, section["summary"] or "; ".join(below)))
