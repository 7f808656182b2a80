"""The files that the run page loads, compressed as a server sends them."""

import gzip
from typing import Any

import pytest

from tests.support.showcase import Showcase
from tests.support.showcase_pages import new_page, open_page

pytestmark = [pytest.mark.browser, pytest.mark.extended]

KIB = 1024
MAX_KIB = 120
COUNTED = {"document", "stylesheet", "script"}


def test_weight_of_the_run_page(browser: Any, showcase: Showcase, paths: dict[str, str]) -> None:
    page = new_page(browser, showcase)
    responses: list[Any] = []
    page.on("response", lambda response: responses.append(response))  # noqa: PLW0108
    open_page(page, paths["chain"])
    for tab in page.get_by_role("tab").all():
        tab.click()
        page.wait_for_load_state("networkidle")
    sizes = {
        response.url: len(gzip.compress(response.body())) / KIB
        for response in responses
        if response.request.resource_type in COUNTED
    }
    assert sum(sizes.values()) <= MAX_KIB, sizes
    page.context.close()
