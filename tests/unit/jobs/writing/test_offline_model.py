"""The offline model: outlines of prompts, Chinese text, streaming."""

from pathlib import Path
from typing import Any

import pytest

from jobs.writing.graphs import document_graph, outline_graph
from jobs.writing.offline_model import OfflineChatModel
from tests.unit.jobs.writing.support import CallbackRecorder, ReportRecorder

ROOT = Path(__file__).parents[4]
CHINESE = (Path(__file__).parent / "samples" / "tea.zh.txt").read_text("utf-8")


def plan(prompt: str, *texts: str) -> tuple[str, list[str]]:
    files = [{"name": f"{place}.md", "text": text} for place, text in enumerate(texts)]
    outline = outline_graph(OfflineChatModel(), ReportRecorder(), files).invoke(prompt)
    return outline["title"], [section["heading"] for section in outline["sections"]]


@pytest.mark.parametrize(
    ("prompt", "title", "sections"),
    [
        ("Tea: leaves, water and time", "Tea", ["Leaves", "Water", "Time"]),
        ("A text on tea, covering trade and tax", "A text on tea", ["Trade", "Tax"]),
        (
            "写一篇关于茶的文章，包括历史、种类和冲泡",
            "写一篇关于茶的文章",
            ["历史", "种类", "冲泡"],
        ),
        ("Note: tea", "Note: tea", ["Background", "Main points", "Conclusion"]),
        ("介绍茶", "介绍茶", ["背景", "要点", "总结"]),
    ],
)
def test_outline_of_a_prompt(prompt: str, title: str, sections: list[str]) -> None:
    assert plan(prompt) == (title, sections)


def test_outline_of_this_readme_has_its_main_headings() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    lines = readme.splitlines()
    main = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    assert plan("Outline the README", readme) == (lines[0].removeprefix("# "), main)


def test_chinese_text_becomes_a_chinese_document() -> None:
    files, recorder = [{"name": "茶.txt", "text": CHINESE}], CallbackRecorder()
    outline = outline_graph(OfflineChatModel(), ReportRecorder(), files).invoke(
        "写一篇关于茶的文章"
    )
    assert outline["sections"][0]["heading"].startswith("茶树原产于中国西南部")
    graph = document_graph(OfflineChatModel(), ReportRecorder(), files, outline)
    document = graph.invoke("写一篇关于茶的文章", config={"callbacks": [recorder]})
    paragraphs = [line for line in CHINESE.splitlines() if line]
    assert [section["text"] for section in document["sections"]] == paragraphs
    assert recorder.tools == ["find_passages"] * len(paragraphs)
    assert max(map(len, recorder.tokens)) < 20


@pytest.mark.parametrize("text", ["", "\n", "```\ncode\n```", "#", "# \n\n- a", "\x00", "a\rb"])
def test_any_text_has_an_outline(text: str) -> None:
    title, sections = plan("Explain it", text)
    assert title
    assert sections


def test_events_name_the_model() -> None:
    seen: list[Any] = []

    class Metadata(CallbackRecorder):
        def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
            seen.append(kwargs["metadata"]["ls_model_name"])

    graph = outline_graph(OfflineChatModel(), ReportRecorder(), [])
    graph.invoke("Tea", config={"callbacks": [Metadata()]})
    assert seen == ["offline"]
