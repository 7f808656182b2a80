"""Writes the pictures of the documentation: `python docs/generate_screenshots.py`.

They show the real site with jobs that have just run. `--all DIR` writes every page into a folder
instead, at three widths, light and dark, in English, Chinese and German. Requires Chromium.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from tests.support.chromium import chromium  # noqa: E402
from tests.support.showcase import Showcase  # noqa: E402
from tests.support.showcase_pages import (  # noqa: E402
    SCHEMES,
    WIDTHS,
    new_page,
    open_page,
    paths_of,
)

# Files by the name of the page.
PICTURES = {"agent": "run-page", "list": "job-list", "monitor": "monitor", "admin-alert": "alert"}
LANGUAGES = ("en", "zh-CN", "de")
WIDTH, HEIGHT = 1440, 900
MAX_HEIGHT = 2400


@contextmanager
def running_site() -> Iterator[Showcase]:
    """Start the site, run its jobs, and stop it."""
    with tempfile.TemporaryDirectory(prefix="je") as directory:
        site = Showcase(Path(directory))
        try:
            site.start()
            site.add_history()
            site.run_jobs()
            yield site
        finally:
            site.stop()


def write(page: Any, path: Path, **options: Any) -> None:
    """Write what the page shows."""
    page.screenshot(path=path, animations="disabled", caret="hide", **options)
    print(f"{path} {path.stat().st_size / 1024:.0f} KB")  # noqa: T201


def show_all(page: Any, width: int) -> None:
    """Make the window as high as the page."""
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": width, "height": min(max(height, HEIGHT), MAX_HEIGHT)})
    page.wait_for_timeout(300)


def write_pictures(browser: Any, site: Showcase) -> None:
    """Write the pictures of the documentation."""
    page = new_page(browser, site, viewport={"width": WIDTH, "height": HEIGHT}, locale="en")
    paths = paths_of(site)
    for name, file in PICTURES.items():
        open_page(page, paths[name])
        write(page, DOCS / f"{file}.png")


def write_all(browser: Any, site: Showcase, options: argparse.Namespace) -> None:
    """Write the chosen pages, widths, colour schemes and languages."""
    options.all.mkdir(parents=True, exist_ok=True)
    paths = {
        name: path for name, path in paths_of(site).items() if name in (options.only or [name])
    }
    for language in options.languages:
        page = new_page(browser, site, locale=language)
        for name, path in paths.items():
            for width in options.widths:
                page.set_viewport_size({"width": width, "height": WIDTHS[width]})
                open_page(page, path)
                show_all(page, width)
                for scheme in options.schemes:
                    page.emulate_media(color_scheme=scheme)
                    write(page, options.all / f"{name}-{width}-{scheme}-{language}.png")
        page.context.close()


def arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="DIR")
    parser.add_argument("--only", action="append", metavar="PAGE")
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS))
    parser.add_argument("--schemes", nargs="+", default=SCHEMES)
    parser.add_argument("--languages", nargs="+", default=LANGUAGES)
    return parser.parse_args()


if __name__ == "__main__":
    options = arguments()
    with running_site() as site, chromium() as browser:
        if options.all:
            write_all(browser, site, options)
        else:
            write_pictures(browser, site)
