"""Writes the settings table into reference.md: `python docs/generate_settings.py`."""

import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference.md"


def with_settings(text: str) -> str:
    """Return the reference with the present settings table between its two markers."""
    from events.conf import EventSettings  # noqa: PLC0415 - needs the path and a project
    from jobs.conf import JobSettings  # noqa: PLC0415 - as above

    rows = ["| key | default | description | allowed | check |", "|---|---|---|---|---|"]
    for name, setting in (EventSettings.table() | JobSettings.table()).items():
        default = f"`{setting.default!r}`"
        if setting.variable:
            default = f"environment variable `{setting.variable}`, or {default}"
        cells = (f"`{name}`", default, setting.help_text, setting.rule.allowed, setting.check_id)
        rows.append(f"| {' | '.join(cells)} |")
    table = "\n".join(["<!-- settings -->", *rows, "<!-- end of settings -->"])
    return re.sub(
        r"<!-- settings -->.*<!-- end of settings -->", lambda _: table, text, flags=re.DOTALL
    )


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.settings")
    REFERENCE.write_text(with_settings(REFERENCE.read_text()))
