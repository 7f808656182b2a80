"""Outlines by extraction: from a README, plain text, Chinese, a prompt alone, and bad input."""

import pytest

from jobs.writing.extract import condensed, outline_for, read_structures
from jobs.writing.outline import MAX_SECTIONS, Outline, count_sections, parse_outline, walk
from jobs.writing.passages import PassageIndex
from jobs.writing.sources import ContextFile
from tests.unit.jobs.writing.support import calls_made, headings, sample


@pytest.fixture
def readme() -> Outline:
    return outline_for("Write an outline of this README", [sample("readme.md")])


def test_a_readme_gives_its_title_and_its_headings(readme: Outline) -> None:
    assert readme["title"] == "Durable job event streams for Django"
    assert headings(readme) == [
        "1 Overview",
        "2 Quick start",
        "2.1 Add it to a project",
        "2.2 Publish an event",
        "3 How it works",
        "3.1 Two ways to publish",
        "3.2 Live delivery",
        "3.3 What survives a crash",
        "4 HTTP API",
        "5 Configuration",
        "6 Running it in production",
        "6.1 Limits",
        "7 Contributing",
        "8 Licence",
    ]


def test_a_readmes_summaries_are_its_own_sentences(readme: Outline) -> None:
    summaries = {section.heading: section.summary for section in walk(readme)}
    assert summaries["Overview"].startswith("One log per job. Whatever happens to a process")
    assert summaries["Live delivery"].startswith("One blocking reader per server process")
    assert summaries["Configuration"].endswith("REDIS_URL; DATABASE_URL; CHAT_MODEL.")
    assert summaries["Two ways to publish"].startswith("Stream-first: progress, tokens, tool calls")
    assert summaries["What survives a crash"].startswith("A worker killed between two events")
    assert summaries["Add it to a project"].endswith("run the migrations.")


def test_a_readmes_summaries_have_no_markup_and_end_well(readme: Outline) -> None:
    for section in walk(readme):
        assert not set("`*[]|<>#") & set(section.summary)
        assert section.summary == "MIT" or section.summary.endswith((".", "…"))


def test_a_plain_text_is_split_by_topic_under_words_of_its_own() -> None:
    outline = outline_for("Write about tea", [sample("tea.txt")])
    assert 5 <= len(outline["sections"]) <= 8
    text = " ".join(sample("tea.txt").text.split())
    for section in walk(outline):
        assert section.heading in text
        assert section.summary in text
        assert not section.summary.startswith(section.heading)


def test_a_chinese_text_is_split_by_topic() -> None:
    outline = outline_for("总结附件", [sample("tea.zh.txt")])
    found = [section.heading for section in walk(outline)]
    assert found[1:4] == [
        "到了唐代，饮茶的风气传遍全国",
        "宋代流行点茶和斗茶",
        "茶马古道把四川和云南的茶叶运往西藏",
    ]
    assert all(section.summary.endswith("。") for section in walk(outline))


@pytest.mark.parametrize(
    "text",
    [
        "1. Trade\n\nShips came.\n\n2. Tax\n\nThe tax rose.\n",
        "1 Trade\nShips came every year.\n\n2 Tax\nThe tax rose and rose.\n",
        "TRADE\n\nShips came.\n\nTAXES\n\nThe tax rose.\n",
        "I. Trade\n\nShips came.\n\nII. Tax\n\nThe tax rose.\n",
        "A title\n\nTrade\n\nShips came.\n\nTax\n\nThe tax rose.\n",
    ],
)
def test_the_headings_of_plain_text(text: str) -> None:
    outline = outline_for("Write about it", [ContextFile("a.txt", text)])
    assert [section.heading for section in walk(outline)][-2:] in (
        ["Trade", "Tax"],
        ["Trade", "Taxes"],
    )


def test_a_numbered_list_is_no_row_of_headings() -> None:
    text = "Buy these things at the shop today:\n\n1. Milk\n\n2. Eggs\n\n3. Butter\n"
    outline = outline_for("Write about it", [ContextFile("a.txt", text)])
    assert "Milk" not in [section.heading for section in walk(outline)]


def test_sections_that_the_prompt_names_win_and_are_filled_from_the_source() -> None:
    outline = outline_for("A history of tea, covering smuggling and astronomy", [sample("tea.txt")])
    smuggling, astronomy = outline["sections"]
    assert smuggling["summary"] in " ".join(sample("tea.txt").text.split())
    assert "smuggl" in smuggling["summary"].casefold()
    assert astronomy["summary"] == "Covers “Astronomy” as part of “A history of tea”."


def test_a_prompt_alone_that_names_sections() -> None:
    prompt = "Write a short history of tea in Britain, covering trade, customs and taxes"
    outline = outline_for(prompt, [])
    assert outline["title"] == "A short history of tea in Britain"
    assert headings(outline) == ["1 Trade", "2 Customs", "3 Taxes"]


def test_a_prompt_alone_that_names_none_gets_an_outline_for_its_kind() -> None:
    assert headings(outline_for("Write a history of tea", []))[0] == "1 Origins"
    assert headings(outline_for("A proposal for a library", []))[0] == "1 Goal"
    assert headings(outline_for("Schreibe über die Römer und ihre Straßen", []))[-1] == "5 Fazit"
    assert "tea" in outline_for("Write about tea", [])["sections"][0]["summary"]


def test_two_sources_are_a_part_each() -> None:
    outline = outline_for("Write a document", [sample("readme.md"), sample("tea.txt")])
    assert [section["heading"] for section in outline["sections"]] == [
        "Durable job event streams for Django",
        "Tea",
    ]
    assert outline["sections"][0]["sections"][0]["heading"] == "Quick start"


def test_a_title_says_what_is_asked_for_and_of_what() -> None:
    outline = outline_for("Write a user guide", [sample("readme.md")])
    assert outline["title"] == "Durable job event streams for Django: user guide"


def test_headings_that_skip_levels_and_go_deep_fit_into_three_levels() -> None:
    text = "# T\n\n## A\n\n#### B\n\n##### C\n\n###### D\n\nText of D is here.\n\n## E\n\nText."
    assert headings(outline_for("x", [ContextFile("a.md", text)])) == [
        "1 A",
        "1.1 B",
        "1.1.1 C",
        "2 E",
    ]


def test_several_headings_of_the_top_level_are_all_sections() -> None:
    text = "# One\n\nFirst text.\n\n# Two\n\nSecond text."
    assert headings(outline_for("x", [ContextFile("a.md", text)])) == ["1 One", "2 Two"]


def test_more_sections_than_the_limit_are_merged_visibly() -> None:
    text = "# T\n" + "".join(f"\n## Part {n}\n\n### Detail {n}\n\nText.\n" for n in range(40))
    outline = outline_for("x", [ContextFile("a.md", text)])
    assert count_sections(outline) == 40
    assert "Detail 7" in outline["sections"][7]["summary"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t\n ",
        "\x00\x01\x02" * 1_000,
        "\ud800\udfff",
        "\ufeff# BOM\n\ntext",
        "a",
        "🎉" * 500,
        "مرحبا بالعالم. هذا نص قصير. " * 20,
        "हिन्दी में एक वाक्य। दूसरा वाक्य। " * 20,
        "# \n## \n### ",
        "|||||\n|-|-|",
        "[" * 5_000,
        "```" * 3_000,
        "<!--" * 3_000,
        "\u2028" * 1_000,
        "- \n" * 1_000,
        "A\n\n" * 1_000,
        "# x\n" * 1_000,
        "word " * 20_000,
        "." * 20_000,
    ],
)
def test_any_text_gives_an_outline(text: str) -> None:
    outline = outline_for(text, [ContextFile("../../x\n# y", text)])
    assert parse_outline(outline) == outline
    assert count_sections(outline) <= MAX_SECTIONS


@pytest.mark.parametrize(
    "unit",
    [
        "Ships brought tea to London. ",
        "Ships brought tea to London.\n\n",
        "## Ships\n\nShips brought tea.\n\n",
        "Heading\n\n",
        "茶叶来自中国。",
        "[",
        "`a",
        "*a ",
        "<a",
        "<!--",
        "<!---->",
        "<!--\n",
        "```\n",
        "~",
        "| a |\n",
        "    a\n\nb\n",
        ". ",
        "1. x\n",
    ],
)
def test_the_work_grows_no_faster_than_the_text(unit: str) -> None:
    def work(size: int) -> int:
        text = unit * (size // len(unit))
        return calls_made(lambda: outline_for("x", [ContextFile("a.md", text)]))

    assert work(16_000) < 3 * work(8_000) + 10_000


def test_a_megabyte_is_read_to_its_end() -> None:
    text = "".join(f"## Chapter {n}\n\n{'Tea came by ship. ' * 1_400}\n\n" for n in range(40))
    assert len(text) > 1_000_000
    outline = outline_for("Write about it", [ContextFile("book.md", text)])
    assert outline["sections"][-1]["heading"] == "Chapter 39"


def test_a_condensed_source_gives_the_same_outline() -> None:
    (structure,) = read_structures([sample("readme.md")])
    short = ContextFile("readme.md", condensed(structure))
    again = outline_for("Write an outline of this README", [short])
    assert headings(again) == headings(outline_for("this README", [sample("readme.md")]))


def test_passages_are_found_by_heading_by_word_and_not_by_chance() -> None:
    index = PassageIndex(read_structures([sample("readme.md")]))
    (own,) = index.find("no such word", heading="Limits")
    assert own.headings == ("Running it in production", "Limits")
    assert index.find("slow viewer")[0].headings[-1] == "Live delivery"
    assert index.find("the astronomy of comets") == []
