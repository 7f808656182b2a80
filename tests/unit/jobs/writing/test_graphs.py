"""The graphs, with the real offline model and with a scripted one in a provider's place."""

import asyncio
import json
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from jobs.writing.errors import ModelNameError, ModelReplyError, OutlineError
from jobs.writing.graphs import document_graph, outline_graph
from jobs.writing.model_node import MAX_TOOL_ROUNDS
from jobs.writing.offline import OfflineChatModel
from jobs.writing.outline import count_sections, parse_outline
from tests.unit.jobs.writing.support import (
    Heard,
    Recorder,
    ScriptedModel,
    calls,
    headings,
    sample,
    says,
)

TASK = {"task_prompt": "Write an outline of this README"}
OUTLINE = {"title": "Tea", "sections": [{"heading": "Trade"}, {"heading": "Tax"}]}
REPLY = json.dumps(OUTLINE)


def plan(model: BaseChatModel, *files: str, reporter: Recorder | None = None) -> dict[str, Any]:
    graph = outline_graph(model, [sample(name) for name in files], reporter or Recorder())
    return graph.invoke(TASK)["outline"]


def write(
    model: BaseChatModel, *files: str, outline: Any = OUTLINE, reporter: Recorder | None = None
) -> dict[str, Any]:
    graph = document_graph(model, [sample(name) for name in files], reporter or Recorder())
    return graph.invoke({"task_prompt": "Write about tea", "outline": outline})["document"]


# The offline model ---------------------------------------------------------------------------


def test_an_outline_is_planned_from_what_the_tools_read() -> None:
    heard, reporter = Heard(), Recorder()
    graph = outline_graph(OfflineChatModel(), [sample("readme.md")], reporter)
    state = graph.invoke(TASK, config={"callbacks": [heard]})
    assert list(state) == ["outline"]
    assert headings(state["outline"])[:2] == ["1 Overview", "2 Quick start"]
    assert heard.tools == ["list_sources", "read_source"]
    nodes = [name for name in heard.nodes if not name.startswith("after_")]
    assert nodes == [
        "outline",
        "plan",
        "draft_outline",
        "research",
        "draft_outline",
        "research",
        "draft_outline",
        "check_outline",
    ]


def test_each_token_is_heard() -> None:
    heard = Heard()
    outline_graph(OfflineChatModel(), [], Recorder()).invoke(TASK, config={"callbacks": [heard]})
    assert json.loads("".join(heard.tokens))["sections"]
    assert len(heard.tokens) > 20


def test_a_document_has_each_section_once_with_the_words_of_the_source() -> None:
    heard, reporter = Heard(), Recorder()
    outline = plan(OfflineChatModel(), "readme.md")
    graph = document_graph(OfflineChatModel(), [sample("readme.md")], reporter)
    state = graph.invoke({**TASK, "outline": outline}, config={"callbacks": [heard]})
    document = state["document"]
    assert [f"{s['id']} {s['heading']}" for s in document["sections"]] == headings(outline)
    assert reporter.sections == document["sections"]
    assert heard.nodes.count("write_section") == count_sections(outline)
    texts = {section["heading"]: section["text"] for section in document["sections"]}
    assert texts["Limits"].startswith("An event may have 256 KiB, and a page")
    assert "```bash\n# This comment is no heading\npip install" in texts["Quick start"]
    assert "| `REDIS_URL` | a server of our own |" in texts["Configuration"]
    assert texts["What survives a crash"].count("\n- ") == 2


def test_a_documents_markdown_holds_its_sections_under_their_levels() -> None:
    outline = plan(OfflineChatModel(), "readme.md")
    markdown = write(OfflineChatModel(), "readme.md", outline=outline)["markdown"]
    assert markdown.startswith("# Durable job event streams for Django\n\n## Overview\n\nOne log")
    assert "\n\n### Limits\n\nAn event may" in markdown
    assert markdown.endswith("## Licence\n\nMIT\n")


def test_no_sentence_of_a_source_is_said_twice() -> None:
    outline = plan(OfflineChatModel(), "tea.txt")
    document = write(OfflineChatModel(), "tea.txt", outline=outline)
    sentences = [
        sentence
        for section in document["sections"]
        for sentence in section["text"].replace("\n", " ").split(". ")
    ]
    assert len(sentences) > 30
    assert len(set(sentences)) == len(sentences)


def test_a_section_that_the_prompt_names_gets_what_the_source_says_on_it() -> None:
    outline = {"title": "Tea", "sections": [{"heading": "Smuggling"}, {"heading": "Astronomy"}]}
    smuggling, astronomy = write(OfflineChatModel(), "tea.txt", outline=outline)["sections"]
    source = " ".join(sample("tea.txt").text.split())
    assert "smuggl" in smuggling["text"].casefold()
    assert all(part in source for part in smuggling["text"].split("\n\n"))
    assert astronomy["text"] == "The sources given say nothing about “Astronomy”."


def test_without_sources_a_document_says_so_and_claims_nothing() -> None:
    outline = outline_graph(OfflineChatModel(), [], Recorder()).invoke(
        {"task_prompt": "Write a history of tea, covering trade and tax"}
    )["outline"]
    trade, tax = write(OfflineChatModel(), outline=outline)["sections"]
    assert trade["text"].startswith("No source was given for “Trade”. Add a text file")
    assert tax["text"] == "For “Tax” too, no source was given."


def test_a_document_in_another_language_is_all_in_that_language() -> None:
    outline = {"title": "茶", "sections": [{"heading": "斗茶"}, {"heading": "天文"}]}
    graph = document_graph(OfflineChatModel(), [sample("tea.zh.txt")], Recorder())
    state = graph.invoke({"task_prompt": "写一篇关于茶的文章", "outline": outline})
    tea, stars = state["document"]["sections"]
    assert tea["text"].startswith("宋代流行点茶和斗茶。")
    assert stars["text"] == "所提供的资料没有提到“天文”。"


def test_progress_goes_up_to_one_and_never_back() -> None:
    planning, writing = Recorder(), Recorder()
    outline = plan(OfflineChatModel(), "readme.md", reporter=planning)
    write(OfflineChatModel(), "readme.md", outline=outline, reporter=writing)
    for reporter in (planning, writing):
        assert reporter.fractions == sorted(reporter.fractions)
        assert reporter.fractions[-1] == 1.0
    assert "Wrote 2 of 14: Quick start" in writing.messages


def test_what_a_reporter_raises_ends_the_graph() -> None:
    class Cancelled(Exception):
        pass

    class Cancelling(Recorder):
        def section(self, section: dict[str, Any]) -> None:
            super().section(section)
            raise Cancelled

    reporter = Cancelling()
    with pytest.raises(Cancelled):
        write(OfflineChatModel(), "tea.txt", reporter=reporter)
    assert len(reporter.sections) == 1


def test_a_source_of_a_megabyte_is_outlined_to_its_end() -> None:
    text = "".join(f"## Chapter {n}\n\n{'Tea came by ship. ' * 1_400}\n\n" for n in range(40))
    book = type(sample("tea.txt"))("book.md", text)
    heard = Heard()
    graph = outline_graph(OfflineChatModel(), [book], Recorder())
    outline = graph.invoke(TASK, config={"callbacks": [heard]})["outline"]
    assert outline["sections"][-1]["heading"] == "Chapter 39"
    assert heard.tools == ["list_sources", "outline_source"]


def test_sixty_sections_are_written_and_more_are_merged() -> None:
    sections = [{"heading": f"S{n}", "sections": [{"heading": f"T{n}"}]} for n in range(70)]
    reporter = Recorder()
    graph = document_graph(OfflineChatModel(), [], reporter)
    state = graph.invoke({**TASK, "outline": {"title": "Many", "sections": sections}})
    assert count_sections(state["outline"]) == len(state["document"]["sections"]) == 60
    assert reporter.messages[0] == "Writing 60 sections, merged from 140"


# Sync and async ------------------------------------------------------------------------------


async def test_ainvoke_gives_what_invoke_gives() -> None:
    files, model = [sample("readme.md")], OfflineChatModel()
    state = await outline_graph(model, files, Recorder()).ainvoke(TASK)
    assert state["outline"] == plan(model, "readme.md")
    reporter = Recorder()
    written = await document_graph(model, files, reporter).ainvoke({**TASK, **state})
    again = document_graph(model, files, Recorder()).invoke({**TASK, **state})
    assert written["document"] == again["document"]
    assert reporter.sections == written["document"]["sections"]


async def test_an_async_handler_is_called_on_the_loop_of_the_caller() -> None:
    loops = set()

    class OnLoop(AsyncCallbackHandler):
        async def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
            loops.add(asyncio.get_running_loop())

    graph = outline_graph(OfflineChatModel(), [sample("tea.txt")], Recorder())
    await graph.ainvoke(TASK, config={"callbacks": [OnLoop()]})
    assert loops == {asyncio.get_running_loop()}


async def test_astream_tells_of_each_node() -> None:
    graph = outline_graph(OfflineChatModel(), [], Recorder())
    updates = [next(iter(update)) async for update in graph.astream(TASK, stream_mode="updates")]
    assert updates == ["plan", "draft_outline", "check_outline"]


def test_messages_can_be_streamed_out_of_the_graph() -> None:
    graph = outline_graph(OfflineChatModel(), [], Recorder())
    streamed = list(graph.stream(TASK, stream_mode="messages"))
    tokens = [message for message, data in streamed if data["langgraph_node"] == "draft_outline"]
    assert len(tokens) > 20


# A provider's model --------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
def test_a_fenced_reply_with_talk_around_it_is_an_outline(stream: bool) -> None:
    model = says(f"Sure!\n```json\n{REPLY}\n```\nAnything else?", stream=stream)
    assert plan(model) == parse_outline(OUTLINE)


def test_after_a_useless_reply_the_model_is_shown_what_was_wrong() -> None:
    model = says("Tea is nice.", REPLY)
    reporter = Recorder()
    assert plan(model, reporter=reporter)["title"] == "Tea"
    last = model.seen[1][-1]
    assert isinstance(last, HumanMessage)
    assert "there is no JSON object in the reply" in str(last.text)
    assert "Asking for the outline again" in reporter.messages


def test_a_second_useless_reply_ends_the_task_with_a_sentence() -> None:
    model = says('{"title": "Tea", "sections": [{"heading": 3}]}')
    with pytest.raises(ModelReplyError, match=r"twice. outline.sections\[0\].heading: must be a"):
        plan(model)
    assert len(model.seen) == 2


def test_a_model_that_calls_tools_gets_their_results() -> None:
    model = says(calls("read_source", name="tea.txt"), calls("read_source", name="no.txt"), REPLY)
    assert plan(model, "tea.txt")["title"] == "Tea"
    first, second = (m for m in model.seen[2] if isinstance(m, ToolMessage))
    assert str(first.text).startswith("[tea.txt, page 1 of 1]\nTea reached England")
    assert second.status == "error"
    assert "The sources are: tea.txt" in str(second.text)


def test_a_tool_that_there_is_not_ends_no_task() -> None:
    assert plan(says(calls("rm_rf", path="/"), REPLY), "tea.txt")["title"] == "Tea"
    assert plan(says(calls("rm_rf", path="/"), REPLY))["title"] == "Tea"


@pytest.mark.parametrize("files", [(), ("tea.txt",)])
def test_a_model_that_calls_tools_for_ever_is_stopped(files: tuple[str, ...]) -> None:
    model = says(calls("list_sources"))
    with pytest.raises(ModelReplyError, match="gave no answer"):
        plan(model, *files)
    assert len(model.seen) <= MAX_TOOL_ROUNDS + 3


def test_a_model_that_is_told_to_stop_may_still_answer() -> None:
    model = says(*[calls("list_sources")] * (MAX_TOOL_ROUNDS + 1), REPLY)
    assert plan(model, "tea.txt")["title"] == "Tea"
    assert "No more tool calls" in str(model.seen[-1][-1].text)


def test_sections_of_a_provider_are_cleaned() -> None:
    model = says("## Trade\n\nShips.\n\n# Evil\n\n```sh\n# kept\n```", "```markdown\nTax.\n```")
    trade, tax = write(model)["sections"]
    assert trade["text"] == "Ships.\n\n**Evil**\n\n```sh\n# kept\n```"
    assert tax["text"] == "Tax."


def test_an_empty_section_is_asked_for_again_then_given_up() -> None:
    assert write(says(" ", "Ships.", "Tax."))["sections"][0]["text"] == "Ships."
    with pytest.raises(ModelReplyError, match="no text for section 1, 'Trade', twice"):
        write(says(" \n"))


def test_a_section_is_told_what_is_written_and_starts_a_conversation_of_its_own() -> None:
    model = says(calls("list_sources"), "Ships came.", "Taxes rose.")
    write(model, "tea.txt")
    system, human = model.seen[2]
    assert "Ships came." in str(human.text)
    assert "one section" in str(system.text)


def test_an_outline_of_ones_own_is_checked_first() -> None:
    model = says("text")
    with pytest.raises(OutlineError, match=r"outline.sections\[0\].heading: must be a string"):
        write(model, outline={"title": "Tea", "sections": [{"heading": None}]})
    assert model.seen == []


def test_a_model_without_tools_is_refused_with_a_sentence() -> None:
    class NoTools(ScriptedModel):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            raise NotImplementedError

    with pytest.raises(ModelNameError, match="NoTools cannot call tools"):
        outline_graph(NoTools(replies=[AIMessage("x")]), [sample("tea.txt")], Recorder())


def test_what_a_provider_raises_is_not_hidden() -> None:
    class Broken(ScriptedModel):
        def _generate(self, *args: Any, **kwargs: Any) -> Any:
            raise TimeoutError("the provider is down")

    with pytest.raises(TimeoutError, match="provider is down"):
        plan(Broken(replies=[]))
