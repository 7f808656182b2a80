"""json-tree.js shows any JSON value as text, and creates what is visible only."""

from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.extended]

DRAW = """async (value) => {
    const { jsonTree } = await import("/static/job_events/json-tree.js");
    const { withEnglish } = await import("/static/job_events/timeline-texts.js");
    const tree = jsonTree(value, { translate: withEnglish() });
    document.body.prepend(tree);
}"""
EXPAND = """async () => {
    const { expandTree } = await import("/static/job_events/json-tree.js");
    expandTree(document.querySelector(".json-tree"));
}"""


def drawn(page: Any, value: Any) -> Any:
    page.goto("/jobs/")
    page.evaluate(DRAW, value)
    return page.locator(".json-tree")


def test_values_are_shown_as_text(page: Any) -> None:
    tree = drawn(page, {"html": "<b>x</b>", "lines": "a\n  b", "none": None, "n": "12", "e": []})
    assert tree.locator("b").count() == 0
    assert tree.locator("pre").inner_text() == "a\n  b"
    assert tree.locator(".json-item").all_inner_texts()[2:] == ["none: null", 'n: "12"', "e: []"]
    assert tree.locator(".json-item").first.inner_text() == "html: <b>x</b>"


def test_large_values_are_shown_in_parts(page: Any) -> None:
    text = "Long text. " * 20_000
    tree = drawn(page, {"text": text, "list": [*range(250)]})
    block = tree.locator("pre")
    assert len(block.inner_text()) < 3_000
    tree.get_by_role("button", name="Show all").click()
    assert block.inner_text() == text
    items = tree.locator("details details .json-item")
    for count in (100, 200):
        assert items.count() == count
        tree.get_by_role("button", name="Show more").click()
    assert items.count() == 250
    assert tree.get_by_role("button").count() == 0


def test_deep_values_end_as_text(page: Any) -> None:
    page.goto("/jobs/")
    page.evaluate(
        """async () => {
            const { jsonTree } = await import("/static/job_events/json-tree.js");
            const { withEnglish } = await import("/static/job_events/timeline-texts.js");
            let value = "bottom";
            for (let depth = 0; depth < 1_000; depth += 1) value = { inner: value };
            document.body.prepend(jsonTree(value, { translate: withEnglish() }));
        }"""
    )
    assert page.locator(".json-tree details").count() == 3
    page.evaluate(EXPAND)
    page.get_by_role("button", name="Show all").click()
    assert "bottom" in page.locator(".json-tree pre").inner_text()
    assert page.locator(".json-tree details").count() < 30
