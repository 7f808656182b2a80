"""Texts that are cut twice."""

import pytest

from events.json_size import cut_text


@pytest.mark.parametrize("end", [0, 10, 35, 49, 50, 60, 75])
def test_text_that_was_cut_before_is_cut_again(end):
    """The number includes the characters that were cut before, even if none are cut now."""
    cut = cut_text("x" * 1000, 50)
    kept = min(end, 50)
    assert cut == "x" * 50 + " [... 950 more characters]"
    expected = f"{'x' * kept} [... {1000 - kept} more characters]"
    assert cut_text(cut, end) == (expected if len(cut) > end else cut)
