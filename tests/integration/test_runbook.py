"""The runbook in docs/operations.md has a heading for each check and each problem."""

import re

import pytest
from django.core.management import get_commands

from events.doctor.checks import registered_checks
from events.processor.problems import PROBLEM_CODES, Problem
from tests.integration.test_documents import DOCUMENTS
from tests.support.site import ROOT

OPERATIONS = ROOT / "docs" / "operations.md"
NAMES = sorted({*(check.name for check in registered_checks()), *PROBLEM_CODES})


def anchors(text):
    """Return the anchors of the headings, as GitHub makes them, and those of `<a id>`."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    names = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    return names + re.findall(r'<a id="([^"]+)">', text)


def section(name):
    """Return the text below a heading of the runbook."""
    text = OPERATIONS.read_text().partition("## Runbook\n")[2]
    found = re.search(rf"^### {name}\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    return found and found[1]


@pytest.mark.parametrize("name", NAMES)
def test_link_points_to_a_heading(name):
    file, _, anchor = Problem(name, "", None, "").runbook.partition("#")
    assert anchor in anchors((ROOT / file).read_text())
    assert section(name).strip()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_anchors_of_links_exist(document):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", document.read_text()):
        if not target.startswith("http"):
            other = document.parent / target if target else document
            assert anchor in anchors(other.read_text()), f"{target}#{anchor}"


def test_headings_are_unique():
    found = anchors(OPERATIONS.read_text())
    assert len(found) == len(set(found))


def test_runbook_has_no_other_sections():
    text = OPERATIONS.read_text().partition("## Runbook\n")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^### (\S+)$", text, re.MULTILINE)) == NAMES


def test_every_check_has_an_action():
    for check in registered_checks():
        assert check.action.endswith((".", "?")), check.name


def test_names_of_needed_checks_exist():
    seen = set()
    for check in registered_checks():
        assert set(check.needs) <= seen, check.name
        seen.add(check.name)


def test_commands_of_the_actions_exist():
    for check in registered_checks():
        for name in re.findall(r"manage\.py (\w+)", check.action):
            assert name in get_commands()
