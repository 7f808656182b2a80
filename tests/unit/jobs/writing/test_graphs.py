"""The graphs, with the offline model and with fake models of a provider."""

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.errors import GraphRecursionError

from jobs.writing.exceptions import WritingError
from jobs.writing.graphs import document_graph, outline_graph, to_markdown
from jobs.writing.offline_model import OfflineChatModel
from tests.unit.jobs.writing.support import (
    CallbackRecorder,
    ReportRecorder,
    headings,
    provider,
)

TEA = {
    "name": "tea.md",
    "text": (
        "# Tea\n\nLeaves and *water*.\n\n## Making it\n\nBoil the water. Wait.\n\n"
        "## Kinds\n\n### Black tea\n\nAssam is `strong`.\n\n### Green tea\n\nSencha.\n"
    ),
}
OUTLINE = {"title": "Tea", "sections": [{"heading": "Trade"}, {"heading": "Tax"}]}


def plan(model: Any = None, files: Any = (), prompt: str = "Explain it") -> Any:
    graph = outline_graph(model or OfflineChatModel(), ReportRecorder(), files)
    return graph.invoke(prompt)


def write(model: Any = None, files: Any = (), outline: Any = OUTLINE, report: Any = None) -> Any:
    report = report or ReportRecorder()
    return document_graph(model or OfflineChatModel(), report, files, outline).invoke("Explain it")


def calls(name: str, **arguments: str) -> AIMessage:
    function = {"name": name, "arguments": json.dumps(arguments)}
    call = {"id": "call_1", "index": 0, "type": "function", "function": function}
    return AIMessage("", additional_kwargs={"tool_calls": [call]})


def test_outline_of_a_file_has_its_headings() -> None:
    outline = plan(files=[TEA])
    assert outline["title"] == "Tea"
    assert headings(outline["sections"]) == [
        "1 Making it",
        "2 Kinds",
        "2.1 Black tea",
        "2.2 Green tea",
    ]
    assert outline["sections"][0]["summary"] == "Boil the water."


def test_outline_of_several_files_has_a_section_for_each() -> None:
    other = {"name": "coffee.md", "text": "# Coffee\n\nBeans.\n\n## Roast\n\nDark.\n"}
    outline = plan(files=[TEA, other], prompt="Compare the drinks")
    assert outline["title"] == "Compare the drinks"
    assert [section["heading"] for section in outline["sections"]] == ["Tea", "Coffee"]


def test_document_quotes_the_passage_under_each_heading() -> None:
    report = ReportRecorder()
    document = write(files=[TEA], outline=plan(files=[TEA]), report=report)
    assert [(s["id"], s["level"], s["text"]) for s in document["sections"]] == [
        ("1", 1, "Boil the water. Wait."),
        ("2", 1, "Black tea; Green tea"),
        ("2.1", 2, "Assam is `strong`."),
        ("2.2", 2, "Sencha."),
    ]
    assert report.sections == document["sections"]
    assert report.fractions == [0.25, 0.5, 0.75, 1.0]
    assert to_markdown(document).startswith("# Tea\n\n## Making it\n\nBoil the water. Wait.\n\n")
    assert "\n\n### Green tea\n\nSencha.\n" in to_markdown(document)


def test_tokens_nodes_and_tool_calls_reach_the_callback_handler() -> None:
    recorder = CallbackRecorder()
    graph = outline_graph(OfflineChatModel(), ReportRecorder(), [TEA])
    graph.invoke("Explain it", config={"callbacks": [recorder]})
    assert recorder.tools == ["list_headings"]
    nodes = [node for node in recorder.nodes if node in {"draft_outline", "research"}]
    assert nodes == ["draft_outline", "research", "draft_outline"]
    assert len(recorder.tokens) > 20
    assert json.loads("".join(recorder.tokens))["title"] == "Tea"


def test_passage_is_not_quoted_twice() -> None:
    outline = {"title": "Tea", "sections": [{"heading": "Hot water"}, {"heading": "Water"}]}
    texts = [section["text"] for section in write(files=[TEA], outline=outline)["sections"]]
    assert texts == ["Leaves and *water*.", "Boil the water. Wait."]


def test_document_without_sources_claims_nothing() -> None:
    trade, _ = write()["sections"]
    assert trade["text"] == "No file contains text on “Trade”."


def test_reply_with_text_around_the_json_is_an_outline() -> None:
    outline = plan(provider(f"Sure!\n```json\n{json.dumps(OUTLINE)}\n```\nAnything else?"))
    assert headings(outline["sections"]) == ["1 Trade", "2 Tax"]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ("Tea is nice.", "Invalid JSON"),
        ('{"title": "Tea"}', "sections: Field required"),
        ('{"title": "Tea", "sections": [{"heading": 3}]}', r"sections\.0\.heading: Input should"),
    ],
)
def test_invalid_outline_fails_with_its_path(reply: str, message: str) -> None:
    with pytest.raises(WritingError, match=f"The outline is invalid. .*{message}"):
        plan(provider(reply))


def test_outline_of_the_caller_is_validated_before_the_model_runs() -> None:
    with pytest.raises(WritingError, match="title: Field required"):
        write(provider(), outline={"x": 1})
    many = {"title": "Many", "sections": [{"heading": f"Part {n}"} for n in range(61)]}
    with pytest.raises(WritingError, match="61 sections, more than 60"):
        write(provider(), outline=many)


def test_provider_receives_the_results_of_its_tool_calls() -> None:
    replies = [calls("find_passages", query="Making it"), calls("rm_rf"), json.dumps(OUTLINE)]
    recorder = CallbackRecorder()
    graph = outline_graph(provider(*replies), ReportRecorder(), [TEA])
    outline = graph.invoke("Explain it", config={"callbacks": [recorder]})
    assert outline["title"] == "Tea"
    assert recorder.tools == ["find_passages"]


def test_empty_reply_fails_with_the_section() -> None:
    with pytest.raises(WritingError, match="no text for section 2"):
        write(provider("Ships.", " "))


def test_model_that_keeps_calling_tools_is_stopped() -> None:
    with pytest.raises(GraphRecursionError, match="Recursion limit of 20"):
        plan(provider(*[calls("list_headings")] * 30), [TEA])


def test_exception_of_the_report_callback_stops_the_graph() -> None:
    class Cancelled(Exception):
        pass

    def cancel(*_: Any) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        write(report=cancel)
