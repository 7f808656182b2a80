"""The two graphs of the demo job: from a prompt to an outline, from an outline to a document.

outline_graph   plan → draft_outline ⇄ research; draft_outline → check_outline → done or again
document_graph  plan → write_section, once for each section → assemble
write_section   brief_section → draft_section ⇄ research; draft_section → keep_section
"""

from collections.abc import Sequence
from typing import Annotated, Any, Protocol, TypedDict

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, BaseMessage, HumanMessage, SystemMessage
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode

from jobs.writing import prompts
from jobs.writing.document import Document, assemble, section_of, to_markdown
from jobs.writing.errors import ModelReplyError, OutlineError
from jobs.writing.model_node import ModelNode, after_reply, refuse_tools, tool_rounds, with_tools
from jobs.writing.outline import (
    Outline,
    OutlineSection,
    count_sections,
    limit_outline,
    parse_outline,
    parse_reply,
    walk,
)
from jobs.writing.sources import ContextFile
from jobs.writing.tools import SourceShelf, outline_tools, section_tools

__all__ = ["ContextFile", "Reporter", "document_graph", "outline_graph"]

# One step for each of 60 sections, and the bounded loop of tool calls within one of them.
_RECURSION_LIMIT = 150


class Reporter(Protocol):
    """Hears how far a task is. Called from worker threads; what it raises ends the graph."""

    def progress(self, fraction: float, message: str) -> None:
        """How much of the task is done, from 0.0 to 1.0, never less than before."""

    def section(self, section: dict[str, Any]) -> None:
        """A finished section: an element of a document's `sections`."""


class OutlineInput(TypedDict):
    """What the outline graph starts from."""

    task_prompt: str


class OutlineOutput(TypedDict):
    """What the outline graph ends with."""

    outline: Outline


class OutlineState(OutlineInput, OutlineOutput, total=False):
    """What the outline graph works on."""

    messages: Annotated[list[AnyMessage], add_messages]


class DocumentInput(TypedDict):
    """What the document graph starts from."""

    task_prompt: str
    outline: Outline


class DocumentOutput(TypedDict):
    """What the document graph ends with. `outline` is the one followed, cut to size."""

    outline: Outline
    document: Document


class DocumentState(DocumentInput, DocumentOutput, total=False):
    """What the document graph works on. `sections` are those written so far."""

    sections: list[dict[str, Any]]


class SectionInput(TypedDict):
    """What the writing of one section starts from."""

    task_prompt: str
    outline: Outline
    sections: list[dict[str, Any]]


class SectionOutput(TypedDict):
    """What the writing of one section ends with."""

    sections: list[dict[str, Any]]


class SectionState(SectionInput, total=False):
    """What one section is written on; its messages are gone when it is done."""

    messages: Annotated[list[AnyMessage], add_messages]


OutlineGraph = CompiledStateGraph[OutlineState, None, OutlineInput, OutlineOutput]
DocumentGraph = CompiledStateGraph[DocumentState, None, DocumentInput, DocumentOutput]
SectionGraph = CompiledStateGraph[SectionState, None, SectionInput, SectionOutput]


def outline_graph(
    model: BaseChatModel, context_files: Sequence[ContextFile], reporter: Reporter
) -> OutlineGraph:
    """The graph that plans: ``{"task_prompt": str}`` in, ``{"outline": outline}`` out.

    Running it raises ModelReplyError if the model gives no outline, twice.
    """
    shelf = SourceShelf(context_files)
    tools = outline_tools(shelf)
    nodes = _OutlineNodes(shelf, reporter, has_tools=bool(tools))
    graph = StateGraph(OutlineState, input_schema=OutlineInput, output_schema=OutlineOutput)
    graph.add_node("plan", nodes.plan)
    graph.add_node("draft_outline", ModelNode(with_tools(model, tools), nodes.messages))
    graph.add_node("research", ToolNode(tools))
    graph.add_node("stop_research", _stop_research)
    graph.add_node("check_outline", nodes.check_outline)
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "draft_outline")
    choices = ["research", "stop_research", "check_outline"]
    graph.add_conditional_edges("draft_outline", nodes.after_draft, choices)
    graph.add_edge("research", "draft_outline")
    graph.add_edge("stop_research", "draft_outline")
    graph.add_conditional_edges("check_outline", nodes.after_check, ["draft_outline", END])
    return graph.compile(name="outline").with_config(recursion_limit=_RECURSION_LIMIT)


def document_graph(
    model: BaseChatModel, context_files: Sequence[ContextFile], reporter: Reporter
) -> DocumentGraph:
    """The graph that writes: ``{"task_prompt": str, "outline": outline}`` in, ``document`` out.

    Running it raises OutlineError if the outline is none, and ModelReplyError if the model gives
    no text for a section, twice.
    """
    nodes = _DocumentNodes(reporter)
    graph = StateGraph(DocumentState, input_schema=DocumentInput, output_schema=DocumentOutput)
    graph.add_node("plan", nodes.plan)
    graph.add_node("write_section", _section_graph(model, context_files, reporter))
    graph.add_node("assemble", nodes.assemble)
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "write_section")
    graph.add_conditional_edges("write_section", nodes.after_section, ["write_section", "assemble"])
    graph.add_edge("assemble", END)
    return graph.compile(name="document").with_config(recursion_limit=_RECURSION_LIMIT)


def _section_graph(
    model: BaseChatModel, context_files: Sequence[ContextFile], reporter: Reporter
) -> SectionGraph:
    tools = section_tools(SourceShelf(context_files))
    nodes = _SectionNodes(reporter, has_tools=bool(tools))
    graph = StateGraph(SectionState, input_schema=SectionInput, output_schema=SectionOutput)
    graph.add_node("brief_section", nodes.brief_section)
    graph.add_node("draft_section", ModelNode(with_tools(model, tools), _messages))
    graph.add_node("research", ToolNode(tools))
    graph.add_node("stop_research", _stop_research)
    graph.add_node("keep_section", nodes.keep_section)
    graph.add_edge(START, "brief_section")
    graph.add_edge("brief_section", "draft_section")
    choices = ["research", "stop_research", "keep_section"]
    graph.add_conditional_edges("draft_section", nodes.after_draft, choices)
    graph.add_edge("research", "draft_section")
    graph.add_edge("stop_research", "draft_section")
    graph.add_conditional_edges("keep_section", nodes.after_keep, ["draft_section", END])
    return graph.compile(name="section")


class _OutlineNodes:
    """The steps of the outline graph that call no model."""

    def __init__(self, shelf: SourceShelf, reporter: Reporter, *, has_tools: bool) -> None:
        self.shelf = shelf
        self.reporter = reporter
        self.has_tools = has_tools

    def plan(self, state: OutlineState) -> dict[str, Any]:
        count = len(self.shelf.files)
        self.reporter.progress(0.05, f"Planning from {_counted(count, 'source')}")
        brief = prompts.outline_brief(state["task_prompt"], tuple(self.shelf.files))
        return {"messages": [SystemMessage(prompts.OUTLINE_INSTRUCTIONS), HumanMessage(brief)]}

    def messages(self, state: OutlineState) -> Sequence[BaseMessage]:
        rounds = min(tool_rounds(state["messages"]), 3)
        message = "Reading the sources" if rounds == 1 else "Drafting the outline"
        if not _asked_again(state["messages"]):
            self.reporter.progress(0.1 + 0.2 * rounds, message)
        return state["messages"]

    def after_draft(self, state: OutlineState) -> str:
        return after_reply(state["messages"], tools=self.has_tools, otherwise="check_outline")

    def check_outline(self, state: OutlineState) -> dict[str, Any]:
        try:
            drafted = parse_reply(_reply(state["messages"]))
        except OutlineError as error:
            if _asked_again(state["messages"]):
                raise ModelReplyError(f"The chat model gave no outline, twice. {error}.") from error
            self.reporter.progress(0.8, "Asking for the outline again")
            return {"messages": [HumanMessage(prompts.ask_again_for_outline(str(error)))]}
        outline = limit_outline(drafted)
        self.reporter.progress(1.0, _about_size("Planned", drafted, outline))
        return {"outline": outline}

    def after_check(self, state: OutlineState) -> str:
        return _again_or_end(state["messages"], "draft_outline")


class _DocumentNodes:
    """The steps of the document graph that write nothing themselves."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter

    def plan(self, state: DocumentState) -> dict[str, Any]:
        given = parse_outline(state["outline"])
        outline = limit_outline(given)
        self.reporter.progress(0.02, _about_size("Writing", given, outline))
        return {"outline": outline, "sections": []}

    def after_section(self, state: DocumentState) -> str:
        finished = len(state["sections"]) >= count_sections(state["outline"])
        return "assemble" if finished else "write_section"

    def assemble(self, state: DocumentState) -> dict[str, Any]:
        document = assemble(state["outline"]["title"], state["sections"])
        self.reporter.progress(1.0, f"Wrote {_counted(len(state['sections']), 'section')}")
        return {"document": document}


class _SectionNodes:
    """The steps of writing one section that call no model."""

    def __init__(self, reporter: Reporter, *, has_tools: bool) -> None:
        self.reporter = reporter
        self.has_tools = has_tools

    def brief_section(self, state: SectionState) -> dict[str, Any]:
        outline = state["outline"]
        written = to_markdown(outline["title"], state["sections"])
        brief = prompts.section_brief(state["task_prompt"], outline, _current(state), written)
        return {"messages": [SystemMessage(prompts.SECTION_INSTRUCTIONS), HumanMessage(brief)]}

    def after_draft(self, state: SectionState) -> str:
        return after_reply(state["messages"], tools=self.has_tools, otherwise="keep_section")

    def keep_section(self, state: SectionState) -> dict[str, Any]:
        current = _current(state)
        section = section_of(current, _reply(state["messages"]))
        if not section["text"]:
            return {"messages": [self._ask_again(state, current)]}
        sections = [*state["sections"], section]
        count = count_sections(state["outline"])
        self.reporter.section(section)
        fraction = 0.02 + 0.96 * len(sections) / count
        self.reporter.progress(fraction, f"Wrote {len(sections)} of {count}: {current.heading}")
        return {"sections": sections}

    def after_keep(self, state: SectionState) -> str:
        return _again_or_end(state["messages"], "draft_section")

    def _ask_again(self, state: SectionState, current: OutlineSection) -> HumanMessage:
        if _asked_again(state["messages"]):
            raise ModelReplyError(
                f"The chat model gave no text for section {current.id}, {current.heading!r}, twice."
            )
        return HumanMessage(prompts.ask_again_for_text())


def _messages(state: SectionState) -> Sequence[BaseMessage]:
    return state["messages"]


def _stop_research(state: Any) -> dict[str, Any]:
    return {"messages": refuse_tools(state["messages"])}


def _current(state: SectionState) -> OutlineSection:
    return list(walk(state["outline"]))[len(state["sections"])]


def _reply(messages: Sequence[BaseMessage]) -> str:
    return str(messages[-1].text)


def _asked_again(messages: Sequence[BaseMessage]) -> bool:
    return sum(isinstance(message, HumanMessage) for message in messages) > 1


def _again_or_end(messages: Sequence[BaseMessage], draft: str) -> str:
    return draft if isinstance(messages[-1], HumanMessage) else END


def _about_size(verb: str, before: Outline, after: Outline) -> str:
    size = f"{verb} {_counted(count_sections(after), 'section')}"
    cut = count_sections(before) > count_sections(after)
    return f"{size}, merged from {count_sections(before)}" if cut else size


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
