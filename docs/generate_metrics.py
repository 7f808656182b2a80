"""Writes the table of metrics into reference.md: `python docs/generate_metrics.py`."""

import os
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference.md"


def with_metrics(text: str) -> str:
    """Return the reference with the present tables of metrics between their markers."""
    from events.metrics.instruments import INSTRUMENTS  # noqa: PLC0415 - needs the path
    from jobs.monitoring.metrics import DEFINITIONS  # noqa: PLC0415 - needs a project

    counted = [each.definition for each in INSTRUMENTS.values()]
    for name, definitions in (("counted", counted), ("computed", DEFINITIONS.values())):
        table = "\n".join(
            [
                f"<!-- {name} metrics -->",
                "| metric | kind | labels | meaning |",
                "|---|---|---|---|",
                *map(_row, definitions),
                f"<!-- end of {name} metrics -->",
            ]
        )
        pattern = rf"<!-- {name} metrics -->.*<!-- end of {name} metrics -->"
        text = re.sub(pattern, lambda _, table=table: table, text, flags=re.DOTALL)
    return text


def _row(definition: Any) -> str:
    kind, name, description, labels = definition
    suffix = "_total" if kind == "counter" else ""
    shown = ", ".join(
        f"`{label}`" + (f" ({', '.join(f'`{each}`' for each in values)})" if values else "")
        for label, values in labels.items()
    )
    return f"| `{name}{suffix}` | {kind} | {shown} | {description} |"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.settings")
    import django

    django.setup()
    REFERENCE.write_text(with_metrics(REFERENCE.read_text()))
