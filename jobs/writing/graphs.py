"""The graphs of the writing tasks. Each draft is a loop of the chat model and its tools."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langgraph.func import entrypoint
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from jobs.writing.exceptions import WritingError
from jobs.writing.outline import parse_outline
from jobs.writing.prompts import OUTLINE_PROMPT, SECTION_PROMPT
from jobs.writing.sources import source_tools

MAX_DRAFT_STEPS = 20
MAX_WRITTEN_CHARS = 20_000

Files = Sequence[dict[str, str]]
# Called with the finished part of the task, from 0.0 to 1.0, a message, and a new section.
Report = Callable[..., None]


def outline_graph(model: BaseChatModel, report: Report, files: Files) -> Any:
    """Return a graph from a prompt to an outline.

    Running it raises WritingError if the reply of the model is not a valid outline.
    """
    draft = _draft_graph("outline", model, files)

    @entrypoint()
    def outline(task: str) -> dict[str, Any]:
        report(0.1, "Planning the outline")
        brief = {"task": task, "sources": [file["name"] for file in files]}
        reply = _reply(draft, OUTLINE_PROMPT, brief)
        planned = parse_outline(reply[reply.find("{") : reply.rfind("}") + 1])
        report(1.0, f"Planned {len(planned.walk())} sections")
        return planned.model_dump()

    return outline


def document_graph(model: BaseChatModel, report: Report, files: Files, outline: Any) -> Any:
    """Return a graph from a prompt to ``{"title", "sections"}``, drafted section by section.

    Raises WritingError if the outline is invalid, or later if the model returns no text.
    """
    draft = _draft_graph("section", model, files)
    outline = parse_outline(outline)
    planned = outline.walk()

    @entrypoint()
    def document(task: str) -> dict[str, Any]:
        done: dict[str, Any] = {"title": outline.title, "sections": []}
        brief: dict[str, Any] = {"task": task, "outline": [f"{s.id} {s.heading}" for s in planned]}
        for count, each in enumerate(planned, 1):
            brief |= {
                "written": to_markdown(done)[-MAX_WRITTEN_CHARS:],
                "section": each.model_dump(),
            }
            text = _reply(draft, SECTION_PROMPT, brief)
            if not text:
                raise WritingError(f"The chat model returned no text for section {each.id}.")
            level = each.id.count(".") + 1
            section = {"id": each.id, "level": level, "heading": each.heading, "text": text}
            done["sections"].append(section)
            message = f"Wrote {count} of {len(planned)}: {each.heading}"
            report(count / len(planned), message, section)
        return done

    return document


def to_markdown(document: dict[str, Any]) -> str:
    """Return a document as one Markdown text."""
    parts = [f"# {document['title']}"]
    for section in document["sections"]:
        parts += [f"{'#' * (section['level'] + 1)} {section['heading']}", section["text"]]
    return "\n\n".join(parts) + "\n"


def _draft_graph(noun: str, model: BaseChatModel, files: Files) -> Any:
    tools = source_tools(files)
    # Providers reject an empty list of tools.
    bound = model.bind_tools(tools) if tools else model

    def call_model(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        # Callback handlers receive tokens from `stream`, not from `invoke`.
        first, *others = bound.stream(state["messages"], config)
        return {"messages": [first + others if others else first]}

    graph = StateGraph(MessagesState)
    graph.add_node(f"draft_{noun}", call_model)
    graph.add_node("research", ToolNode(tools))
    graph.add_edge(START, f"draft_{noun}")
    graph.add_conditional_edges(f"draft_{noun}", tools_condition, {"tools": "research", END: END})
    graph.add_edge("research", f"draft_{noun}")
    return graph.compile(name=noun).with_config(recursion_limit=MAX_DRAFT_STEPS)


def _reply(draft: Any, prompt: str, brief: dict[str, Any]) -> str:
    # A brief is one JSON object, so that no text in it can end a field.
    human = HumanMessage(json.dumps(brief, ensure_ascii=False))
    state = draft.invoke({"messages": [SystemMessage(prompt), human]})
    return str(state["messages"][-1].text).strip()
