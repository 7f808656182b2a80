"""The table of metrics, the dashboard and the alert rules: current, and valid for Prometheus."""

import json
import re
import runpy
import shutil
import subprocess

import pytest
import yaml

from events.metrics import render
from events.metrics.instruments import INSTRUMENTS
from events.processor.problems import PROBLEM_CODES
from jobs.monitoring.metrics import DEFINITIONS
from tests.support.need import need
from tests.support.site import ROOT

DOCS = ROOT / "docs"
RULES = DOCS / "prometheus-alerts.yml"
TESTS = ROOT / "tests" / "support" / "prometheus_alerts_test.yml"
OPERATIONS = (DOCS / "operations.md").read_text()


@pytest.fixture
def promtool(request):
    """Returns a function that runs promtool, which must succeed."""
    need(request, shutil.which("promtool"), "promtool (Debian: prometheus)")

    def promtool(*arguments, text=""):
        done = subprocess.run(
            ["promtool", *arguments], input=text, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return promtool


def exported():
    """Return the names of all series that the code exports."""
    definitions = {
        **DEFINITIONS,
        **{name: each.definition for name, each in INSTRUMENTS.items()},
    }
    suffixes = {"gauge": [""], "counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return {name + end for name, each in definitions.items() for end in suffixes[each.kind]}


def expressions():
    """Return the expressions of the dashboard, with its variables replaced."""
    dashboard = json.loads((DOCS / "grafana-dashboard.json").read_text())
    targets = [each for panel in dashboard["panels"] for each in panel.get("targets", ())]
    return [
        each["expr"].replace("$__rate_interval", "5m").replace("$task_type", ".*")
        for each in targets
    ]


def test_table_of_the_reference_is_current():
    text = (DOCS / "reference.md").read_text()
    script = runpy.run_path(str(DOCS / "generate_metrics.py"))
    assert "<!-- counted metrics -->" in text
    assert "<!-- computed metrics -->" in text
    assert script["with_metrics"](text) == text, "run docs/generate_metrics.py"


def test_dashboard_is_current():
    script = runpy.run_path(str(DOCS / "generate_dashboard.py"))
    text = (DOCS / "grafana-dashboard.json").read_text()
    assert script["dashboard"]() == text, "run docs/generate_dashboard.py"


def test_dashboard_and_rules_name_exported_metrics():
    rules = [each["expr"] for each in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]]
    for text in (*rules, *expressions()):
        names = set(re.findall(r"job_events_\w+", text))
        assert names
        assert names <= exported(), text


def test_dashboard_has_each_metric():
    shown = set(re.findall(r"job_events_\w+", " ".join(expressions())))
    unshown = {"database_up", "redis_up", "streams", "alerts", "heartbeat_age_seconds"}
    unshown |= {"loop_events_total", "loop_failing_seconds"}
    expected = {name for name in exported() if not name.endswith(("_sum", "_count"))}
    assert expected - shown == {f"job_events_{name}" for name in unshown}


def test_each_problem_has_a_rule():
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    codes = [re.findall(r'code=~"([^"]+)"', each["expr"]) for each in rules]
    named = [code for found in codes for each in found for code in each.split("|")]
    assert sorted(named) == sorted(PROBLEM_CODES)


def test_runbooks_of_the_rules_exist():
    headings = {
        line.lstrip("#").strip().lower().replace(" ", "-")
        for line in OPERATIONS.splitlines()
        if line.startswith("#")
    }
    for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]:
        heading = rule["annotations"]["runbook"].removeprefix("docs/operations.md#")
        codes = re.findall(r'code=~"([^"]+)"', rule["expr"])
        found = codes[0].split("|") if "$labels.code" in heading else [heading]
        assert set(found) <= headings


def test_expressions_are_valid(promtool, tmp_path):
    rules = [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(expressions())]
    path = tmp_path / "dashboard.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(path))


def test_rules_fire_and_resolve(promtool, tmp_path):
    promtool("check", "rules", str(RULES))
    path = tmp_path / "tests.yml"
    path.write_text(TESTS.read_text().replace("RULES", str(RULES)))
    assert "SUCCESS" in promtool("test", "rules", str(path))


@pytest.mark.django_db
def test_exposition_is_valid(promtool):
    """promtool reports names and units that differ from the conventions, too."""
    promtool("check", "metrics", text=render()[0].decode())
