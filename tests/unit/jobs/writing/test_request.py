"""Understanding what a person asks for."""

import pytest

from jobs.writing.request import read_request


@pytest.mark.parametrize(
    ("prompt", "title"),
    [
        ("Write a short history of tea in Britain", "A short history of tea in Britain"),
        ("please write me an essay about the French Revolution.", "The French Revolution"),
        ("Could you draft a report on noise in 500 words?", "A report on noise"),
        ("Explain how Redis streams work", "How Redis streams work"),
        ("How do I bake bread?", "How do I bake bread?"),
        ("Plan for a new library", "Plan for a new library"),
        ("Write a cover letter for a nurse", "A cover letter for a nurse"),
        ("The moon", "The moon"),
        ("Schreibe einen kurzen Text über den Kölner Dom", "Kölner Dom"),
        ("Rédige un texte sur la Révolution française", "La Révolution française"),
        ("请写一篇介绍长城的文章", "长城"),
        ("日本の茶道について書いてください", "日本の茶道"),
        ("🎉🎉", "🎉🎉"),
        ("", "Untitled document"),
        (" \n\t ", "Untitled document"),
        ("Write a document", "Untitled document"),
    ],
)
def test_the_title(prompt: str, title: str) -> None:
    assert read_request(prompt).title == title


@pytest.mark.parametrize(
    ("prompt", "sections"),
    [
        ("A history of tea, covering trade, customs and taxes", ("Trade", "Customs", "Taxes")),
        ("On tea, including a, b, and c.", ("A", "B", "C")),
        ("A text that covers noise and dust", ("Noise", "Dust")),
        ("A handbook: welcome, pay and health", ("Welcome", "Pay", "Health")),
        ("On firms, covering sales and law, pay and tax", ("Sales and law", "Pay and tax")),
        ("A guide. It should cover noise, dust, and nights.", ("Noise", "Dust", "Nights")),
        ("A guide to x\n\n- one thing\n- another\n", ("One thing", "Another")),
        ("A guide to x\n1. first\n2. second", ("First", "Second")),
        ("Über Tee mit den Abschnitten Handel und Steuern", ("Handel", "Steuern")),
        ("写一篇关于茶的文章，包括历史、制作和文化", ("历史", "制作", "文化")),
        ("On tea, covering trade, Trade and TRADE", ("TRADE",)),
        ("Write about album covers of the seventies", ()),
        ("Write a short history of tea", ()),
        ("Tea, covering", ()),
    ],
)
def test_the_sections_that_a_prompt_names(prompt: str, sections: tuple[str, ...]) -> None:
    assert read_request(prompt).sections == sections


def test_the_title_does_not_hold_the_sections() -> None:
    assert (
        read_request("Write a history of tea, covering trade and tax").title == "A history of tea"
    )


def test_a_very_long_prompt_gets_a_title_of_its_first_words() -> None:
    title = read_request("tea and coffee " * 5_000).title
    assert title.startswith("Tea and coffee")
    assert len(title) <= 100


def test_a_prompt_may_speak_of_its_sources() -> None:
    assert read_request("Summarise this README").means_source
    assert not read_request("Write about tea").means_source
