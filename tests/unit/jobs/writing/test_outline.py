"""Outlines from outside: from a user and from a chat model."""

import json
from typing import Any

import pytest

from jobs.writing.errors import OutlineError, WritingError
from jobs.writing.outline import (
    MAX_DEPTH,
    count_sections,
    limit_outline,
    parse_outline,
    parse_reply,
    to_markdown,
)


def outline(*sections: Any) -> dict[str, Any]:
    return {"title": "Tea", "sections": list(sections)}


def section(heading: str, *sections: Any) -> dict[str, Any]:
    return {"heading": heading, "summary": f"On {heading}.", "sections": list(sections)}


def nested(depth: int) -> dict[str, Any]:
    return section(str(depth), *([nested(depth - 1)] if depth > 1 else []))


def test_what_may_be_missing_is_filled_in_and_ids_say_the_place() -> None:
    assert parse_outline(outline({"heading": " A\n# b ", "id": "9", "extra": 1})) == {
        "title": "Tea",
        "sections": [{"id": "1", "heading": "A # b", "summary": "", "sections": []}],
    }
    parsed = parse_outline(outline(section("A"), section("B", section("C"))))
    assert parsed["sections"][1]["sections"][0]["id"] == "2.1"


def test_the_given_outline_is_not_changed() -> None:
    given = outline({"heading": " A "})
    parse_outline(given)
    assert given == outline({"heading": " A "})


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (None, "outline"),
        ("text", "outline"),
        ([], "outline"),
        ({}, "outline.title"),
        ({"title": 3, "sections": []}, "outline.title"),
        ({"title": " \n", "sections": []}, "outline.title"),
        ({"title": "x" * 201, "sections": []}, "outline.title"),
        ({"title": "Tea"}, "outline.sections"),
        ({"title": "Tea", "sections": {}}, "outline.sections"),
        ({"title": "Tea", "sections": "abc"}, "outline.sections"),
        (outline(), "outline.sections"),
        (outline("x"), "outline.sections[0]"),
        (outline(section("A"), {"heading": ""}), "outline.sections[1].heading"),
        (outline({"heading": "A", "summary": []}), "outline.sections[0].summary"),
        (outline(section("A", True)), "outline.sections[0].sections[0]"),
        (outline(nested(MAX_DEPTH + 1)), "outline.sections[0].sections[0].sections[0].sections"),
    ],
)
def test_a_bad_outline_names_the_bad_path(value: Any, path: str) -> None:
    with pytest.raises(OutlineError) as raised:
        parse_outline(value)
    assert raised.value.path == path
    assert str(raised.value).startswith(f"{path}: ")
    assert isinstance(raised.value, WritingError)


GOOD = json.dumps(outline(section("A {curly} ``` fence")))


@pytest.mark.parametrize(
    "reply",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"Here you are: {GOOD} I hope that {{helps}}.",
        f"{{not json}} and then {GOOD}",
        f'{{"note": "a draft"}}\n{GOOD}',
        f'{{"outline": {GOOD}}}',
        f'<think>{{"title": "Draft", "sections": []}}</think>{GOOD}',
    ],
)
def test_an_outline_is_found_in_a_reply(reply: str) -> None:
    assert parse_reply(reply)["sections"][0]["heading"] == "A {curly} ``` fence"


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "I cannot do that.",
        GOOD[:-5],
        "[]",
        '{"title": "Tea"}',
        "{" * 200_000,
        '{"a":' * 100_000,
        "[" * 100_000 + '{"title"',
        '{"title": NaN, "sections": []}',
    ],
)
def test_a_reply_without_an_outline_is_refused(reply: str) -> None:
    with pytest.raises(OutlineError):
        parse_reply(reply)


def test_an_outline_that_fits_is_left_alone() -> None:
    whole = parse_outline(outline(section("A", section("B"))))
    assert limit_outline(whole, 2) == whole


def test_the_deepest_sections_are_merged_first() -> None:
    deep = outline(section("A", section("B", section("C"), section("D"))), section("E"))
    limited = limit_outline(deep, 3)
    assert count_sections(limited) == 3
    assert limited["sections"][0]["sections"][0]["summary"] == "On B. (C; D)"


def test_main_sections_beyond_the_limit_become_one_that_names_them() -> None:
    limited = limit_outline(outline(*(section(f"S{n}") for n in range(100))), 10)
    last = limited["sections"][-1]
    assert count_sections(limited) == 10
    assert last["heading"] == "S9 … S99"
    assert last["summary"].startswith("S9; S10; S11;")


def test_merging_thousands_of_headings_keeps_an_outline_that_can_be_parsed() -> None:
    long = outline(*(section("x" * 190, section("y" * 190)) for _ in range(3_000)))
    limited = limit_outline(long)
    assert parse_outline(limited) == limited
    assert "(+" in limited["sections"][-1]["summary"]


def test_an_outline_as_markdown() -> None:
    parsed = parse_outline(outline(section("A", {"heading": "B"})))
    assert to_markdown(parsed) == "# Tea\n\n- **A**: On A.\n  - **B**"
