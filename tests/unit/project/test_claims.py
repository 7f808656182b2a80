"""Every sentence under "What holds" names the tests that show it, and these tests exist."""

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "explanation.md").read_text()
(SECTION,) = re.findall(r"^## What holds\n(.*?)^## ", TEXT, re.MULTILINE | re.DOTALL)
HEADER, RULE, *ROWS = filter(None, SECTION.splitlines())


@lru_cache
def collected(path: Path) -> set[str]:
    """Return the names of the test functions that pytest collects from a module."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    body = ast.parse(path.read_text()).body
    return {node.name for node in body if isinstance(node, functions) and node.name[:5] == "test_"}


def test_section_is_a_table() -> None:
    assert (HEADER, RULE) == ("| what holds | tests |", "|---|---|")
    assert len(ROWS) >= 30


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_named_tests_exist(row: str) -> None:
    match = re.fullmatch(r"\| ([A-Z][^|]+\.) \| (`[^`|]+`(?:, `[^`|]+`)*) \|", row)
    assert match, row
    for name in match[2].replace("`", "").split(", "):
        path, _, test = name.partition("::")
        assert re.fullmatch(r"tests/(\w+/)*test_\w+\.py", path), name
        assert test in collected(ROOT / path), name
