"""The theme of the pages."""

from typing import Any

import pytest

from tests.browser.support import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.extended]

BACKGROUNDS = {"light": "rgb(246, 245, 242)", "dark": "rgb(20, 21, 23)"}


def background(page: Any) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def choose(page: Any, theme: str) -> None:
    page.get_by_role("button", name="Menu").click()
    page.locator("#theme").get_by_text(theme).click()
    page.keyboard.press("Escape")


def test_chosen_theme_replaces_that_of_the_system_on_every_page(page: Any) -> None:
    page.emulate_media(color_scheme="light")
    page.goto("/jobs/")
    assert background(page) == BACKGROUNDS["light"]
    choose(page, "Dark")
    assert background(page) == BACKGROUNDS["dark"]
    for path in ("/jobs/login/?next=/jobs/new/", "/jobs/monitor/"):
        page.goto(path, wait_until="commit")
        page.locator("body").wait_for()
        assert background(page) == BACKGROUNDS["dark"]
    choose(page, "System")
    assert background(page) == BACKGROUNDS["light"]
    page.emulate_media(color_scheme="dark")
    assert background(page) == BACKGROUNDS["dark"]


def test_charts_are_drawn_again_in_the_colours_of_the_theme(page: Any) -> None:
    """The axes of a canvas have colours of their own."""
    page.emulate_media(color_scheme="light")
    page.goto("/jobs/monitor/")
    page.wait_for_selector("html[data-drawn]")
    image = "document.querySelector('.u-wrap canvas').toDataURL()"
    page.evaluate(f"globalThis.light = {image}")
    choose(page, "Dark")
    wait_until(page, f"{image} !== light")
