"""No page violates a rule of axe-core or overflows, at three widths, light and dark."""

from typing import Any

import pytest

from tests.browser.checks import check_accessibility, check_layout
from tests.support.showcase import Showcase
from tests.support.showcase_pages import PAGES, WIDTHS, new_page, open_page

pytestmark = [pytest.mark.browser, pytest.mark.extended]


@pytest.mark.usefixtures("_history")
@pytest.mark.parametrize("name", PAGES)
def test_page_at_all_widths(
    browser: Any, showcase: Showcase, paths: dict[str, str], name: str
) -> None:
    page = new_page(browser, showcase)
    for width, height in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        open_page(page, paths[name])
        check_layout(page, width)
        check_accessibility(page)
    page.context.close()
