"""The English texts of the timeline elements are those that the pages translate."""

import re
from pathlib import Path

from jobs.pages.element_strings import timeline_labels

SOURCE = Path(__file__).parents[4] / "events/static/job_events/timeline-texts.js"


def test_scripts_and_pages_have_the_same_texts() -> None:
    texts = re.findall(r'^  "([\w.]+)": "(.*)",$', SOURCE.read_text(), re.MULTILINE)
    assert dict(texts) == timeline_labels()
