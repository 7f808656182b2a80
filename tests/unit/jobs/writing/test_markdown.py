"""Reading Markdown: what is a heading, what only looks like one, and what markup is dropped."""

import pytest

from jobs.writing.markdown import Block, plain, read_blocks, table_cells, tidy


def kinds(text: str) -> list[tuple[str, str]]:
    return [(block.kind, block.text) for block in read_blocks(text)]


@pytest.mark.parametrize(
    ("text", "heading", "level"),
    [
        ("# One", "One", 1),
        ("###### Six", "Six", 6),
        ("## Closed ##", "Closed", 2),
        ("## C#", "C#", 2),
        ("## `code` and *emphasis*", "code and emphasis", 2),
        ("## [A link](https://example.org)", "A link", 2),
        ("Setext\n======", "Setext", 1),
        ("Setext\n---", "Setext", 2),
        ('<h1 align="center">HTML</h1>', "HTML", 1),
        ('<h2 align="center">\n  <img src="a.png">\n  Over lines\n</h2>', "Over lines", 2),
        ("## 标题：", "标题", 2),
        ("## News :fire:", "News", 2),
    ],
)
def test_a_heading_is_read(text: str, heading: str, level: int) -> None:
    assert read_blocks(text) == (Block("heading", heading, level),)


@pytest.mark.parametrize(
    "text",
    [
        "```\n# comment\n```",
        "~~~~\n# comment\n~~~\n# still\n~~~~",
        "    # indented code",
        "<!-- # a comment -->",
        "<!--\n# a comment\n-->",
        "#hashtag",
        "####### seven",
        "Name | Meaning\n--- | ---\na | b",
        "- item\n---",
        "# ![logo](logo.png)",
        ".. image:: a.png\n   :alt: Title\n",
        "A first line\nand a second one\n---",
        "```\n# a fence that is never closed",
    ],
)
def test_what_only_looks_like_a_heading_is_none(text: str) -> None:
    assert [block for block in read_blocks(text) if block.kind == "heading"] == []


def test_a_comment_does_not_hide_what_stands_around_it() -> None:
    assert kinds("before <!-- x --> after\n<!--\n# no\n--> last") == [
        ("paragraph", "before after last")
    ]


def test_a_comment_that_never_ends_hides_nothing() -> None:
    assert ("heading", "Still here") in kinds("<!-- forgotten\n\n# Still here\n")


def test_the_fence_of_a_code_block_names_its_language() -> None:
    assert read_blocks("```python title=x\na = 1\n```") == (Block("code", "a = 1", info="python"),)


def test_front_matter_is_skipped_and_a_rule_is_not_front_matter() -> None:
    assert kinds("---\ntitle: x\n---\ntext") == [("paragraph", "text")]
    assert kinds("---\n\ntext") == [("paragraph", "text")]


def test_lists_are_items_and_keep_their_continuation() -> None:
    assert kinds("- one\n  more\n- [x] two\n1. three") == [
        ("item", "one more"),
        ("item", "two"),
        ("item", "three"),
    ]


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("[![CI](https://a/b.svg)](https://a) text", "text"),
        ("**bold**, *it*, __b__ and ~~gone~~", "bold, it, b and gone"),
        ("**粗体**文字", "粗体文字"),
        ("snake_case and *.py and 2 * 3 * 4", "snake_case and *.py and 2 * 3 * 4"),
        ("`a * b` and `<tag>`", "a * b and <tag>"),
        ("[`code`](docs/a.md) and [ref][1] and note[^1]", "code and ref and note"),
        ("<https://example.org> &amp; <br/>more", "https://example.org & more"),
        (r"\*not emphasis\*", "*not emphasis*"),
    ],
)
def test_markup_is_taken_off(markdown: str, text: str) -> None:
    assert plain(markdown) == text


def test_tidy_text_keeps_code_but_no_html_comes_alive() -> None:
    assert tidy("run `make` <b>now</b> &lt;script&gt;") == "run `make` now &lt;script&gt;"


def test_placeholders_of_our_own_in_a_text_are_harmless() -> None:
    assert plain("\x000\x00 `code` \x007\x00") == "0 code 7"


def test_the_cells_of_a_row() -> None:
    assert table_cells("| `a` | b \\| c | |") == ["a", "b | c", ""]
