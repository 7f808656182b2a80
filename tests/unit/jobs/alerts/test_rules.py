"""Validation of alert rules, and which rules are evaluated."""

import pytest
from django.core import checks

from events.codec import replace_invalid
from jobs.alerts.rules import KINDS, active_rules, definition_of, entry_of, rule_errors
from jobs.checks import check_settings
from jobs.models import AlertRule
from tests.support.site import ROOT

VALID = [
    {"kind": "problem"},
    {"kind": "problem", "codes": ["redis-memory", "outbox-lag"]},
    {"kind": "failure_rate", "threshold": 1, "window": 3600, "min_count": 1, "task_type": "a.b"},
    {"kind": "stuck_job", "seconds": 0.5, "for": 86400},
    {"kind": "no_first_event"},
    {"kind": "slow_job", "factor": 1, "min_count": 5},
    {"kind": "missing_heartbeat", "seconds": 5, "window": 1},
    {"kind": "lag", "channels": ["signal", "ops"]},
    {"kind": "redis_memory", "share": 0.5},
    {"kind": "tokens", "limit": 1000},
    {"kind": "cost", "limit": 0.5, "per": 86400},
    {
        "kind": "event",
        "event_type": "error",
        "equals": {"data.code": 5, "data.a": None},
        "window": 5,
    },
    {"kind": "event", "event_type": "error", "contains": {"data.text": "timeout"}},
]
INVALID = [
    ({}, "The kind None is unknown. The kinds are: problem, failure_rate"),
    ({"kind": ["lag"]}, "is unknown"),
    ({"kind": "lag", "second": 5}, "Unknown parameters: second. The parameters of 'lag': seconds"),
    ({"kind": "lag", 5: 5}, "Unknown parameters: 5."),
    ({"kind": "lag", "seconds": 0}, "'seconds' must be seconds, above 0"),
    ({"kind": "lag", "for": -1}, "'for' must be seconds, 0 to"),
    ({"kind": "lag", "task_type": None}, "'task_type' must be a string"),
    ({"kind": "lag", "channels": ["pager"]}, "'channels' must be a list of: signal, ops."),
    ({"kind": "lag", "channels": "ops"}, "'channels' must be a list of"),
    ({"kind": "lag", "channels": [["ops"]]}, "'channels' must be a list of"),
    ({"kind": "problem", "codes": ["processors"]}, "'codes' must be a list of redis-connection"),
    ({"kind": "problem", "codes": [[]]}, "'codes' must be a list of"),
    ({"kind": "failure_rate", "threshold": 30}, "'threshold' must be a number above 0, at most 1"),
    ({"kind": "failure_rate", "min_count": 0}, "'min_count' must be an integer above 0"),
    ({"kind": "tokens"}, "'tokens' requires 'limit': a number above 0"),
    ({"kind": "cost", "limit": 5, "per": "day"}, "'per' must be 'job', or seconds, 60 to"),
    ({"kind": "event"}, "'event' requires 'event_type': a non-empty string"),
    ({"kind": "event", "event_type": "a", "equals": {"data.a": []}}, "'equals' must be an object"),
    ({"kind": "event", "event_type": "a", "equals": {"a": 5}}, "of path, `data.…`, to a text"),
    ({"kind": "event", "event_type": "a", "contains": {"a": 5}}, "'contains' must be an object"),
]


@pytest.fixture(autouse=True)
def _settings(settings):
    settings.JOB_EVENTS = {"ALERT_CHANNELS": {"ops": {"kind": "email", "to": ["a@example.org"]}}}


@pytest.mark.parametrize("entry", VALID, ids=str)
def test_valid_rule(entry):
    assert list(rule_errors("a-1_b", entry)) == []
    rule = definition_of("a-1_b", entry)
    assert not rule.error
    for parameter in KINDS[entry["kind"]].parameters:
        assert rule[parameter] == entry.get(parameter, rule[parameter])


def test_every_kind_has_an_example():
    assert {entry["kind"] for entry in VALID} == set(KINDS)


@pytest.mark.parametrize(("entry", "message"), INVALID, ids=str)
def test_invalid_rule_names_what_is_allowed(entry, message):
    (error,) = rule_errors("a", entry)
    assert message in error
    assert definition_of("a", entry).error == error


def test_reference_lists_kinds_and_parameters():
    text = (ROOT / "docs" / "reference.md").read_text().partition("\n## Alert rules\n")[2]
    rows = [row for row in text.splitlines() if row.startswith("| `")]
    for name, kind in KINDS.items():
        (row,) = [row for row in rows if f"`{name}`" in row.split("|")[1] and row.count("|") == 5]
        for parameter, declared in kind.parameters.items():
            assert f"`{parameter}`" in row.split("|")[4]
            if isinstance(declared.default, int | float):
                assert f"({declared.default:g}" in row


@pytest.mark.parametrize("name", ["", "a b", "a" * 65, 5, None, "ü"])
def test_invalid_name(name):
    (error,) = rule_errors(name, {"kind": "lag"})
    assert "is not a name: at most 64 letters" in error


def test_system_check(settings):
    rules = {"a": {"kind": "lag", "second": 5}, "b": {"kind": "lag"}, 5: {"kind": "lag"}}
    settings.JOB_EVENTS["ALERT_RULES"] = rules
    first, second = check_settings(None)
    assert first.id == second.id == "job_events.E055"
    assert first.level == checks.ERROR
    assert "The rule 'a': Unknown parameters: second." in first.msg
    assert "The rule 5: 5 is not a name" in second.msg


def row(name, **fields):
    return AlertRule(**{"name": name, "kind": "lag", **fields})


def test_default_rule():
    (rule,) = active_rules([])
    assert (rule.name, rule.kind) == ("problems", "problem")


def test_row_of_the_admin_is_added_to_the_default_and_may_replace_it():
    assert {rule.name for rule in active_rules([row("mine")])} == {"problems", "mine"}
    assert [rule.kind for rule in active_rules([row("problems")])] == ["lag"]
    assert active_rules([row("problems", enabled=False)]) == []


def test_setting_replaces_rows_and_the_default(settings):
    settings.JOB_EVENTS["ALERT_RULES"] = {"a": {"kind": "stuck_job"}}
    rules = active_rules([row("a"), row("b"), row("c", enabled=False)])
    assert [(rule.name, rule.kind) for rule in rules] == [("a", "stuck_job"), ("b", "lag")]


def test_row_of_the_admin():
    fields = {"parameters": {"seconds": 5}, "task_type": "x", "for_seconds": 9, "channels": ["ops"]}
    rule = definition_of("a", entry_of(row("a", **fields)))
    assert (rule["seconds"], rule.task_type, rule.for_seconds) == (5, "x", 9)
    assert rule.channels == ("ops",)


@pytest.mark.parametrize("parameters", [None, [], 5, {"kind": "event"}, {"nothing": 1}])
def test_row_with_invalid_parameters(parameters):
    rule = definition_of("a", entry_of(row("a", parameters=parameters)))
    assert bool(rule.error) == (parameters != {"kind": "event"})


@pytest.mark.parametrize("value", [None, 5, "lag", [{"kind": "lag"}]])
def test_setting_that_is_not_a_dict_is_an_invalid_rule(settings, value):
    settings.JOB_EVENTS["ALERT_RULES"] = value
    first, second = active_rules([row("mine")])
    assert (first.name, first.error) == ("ALERT_RULES", "It must be a dict.")
    assert (second.name, second.error) == ("mine", "")


@pytest.mark.parametrize("entry", [None, 5, "lag", []])
def test_entry_that_is_not_a_dict(entry):
    assert definition_of("a", entry).error == "It must be a dict."


@pytest.mark.parametrize("name", ["a" * 65, "a\0b", "a\ud800"])
def test_alert_about_a_rule_with_an_invalid_name_can_be_stored(name):
    rule = definition_of(name, {"kind": "la\0g", "\ud800": 5})
    assert rule.error
    for text in (rule.name, rule.kind, rule.error):
        assert text == replace_invalid(text)
    assert len(rule.name) <= 64
