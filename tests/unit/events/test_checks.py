"""A wrong setting of events/ is a message with an id."""

import math

import pytest
from django.core import checks

from events.checks import RULES, check_settings, is_count, is_number
from events.conf import KEYS, event_settings

# Some of the checks that run with ours, Django's, open the database.
pytestmark = pytest.mark.django_db

GOOD = {
    "REDIS_URL": [
        "redis://127.0.0.1:6379/0",
        "rediss://user:secret@redis.example:6380/1?ssl_cert_reqs=none",
        "unix:///run/redis.sock?db=1",
        "redis://[::1]:6379",
    ],
    "REDIS_TIMEOUT": [10, 0.5, 24 * 60 * 60],
    "STREAM_PREFIX": ["job_events:", "x", "{tenant}:"],
    "MAX_EVENT_BYTES": [1, 256 * 1024],
    "PAGE_LIMIT": [1, 1000],
    "KEEP_ALIVE": [15, 0.1],
    "SEND_TIMEOUT": [30, 0.1],
    "STREAM_TAIL": [0, 1, 1000],
    "STREAM_TTL": [0, 0.5, 3600, 30 * 24 * 60 * 60],
}
NO_DURATIONS = [
    0,
    -1,
    0.0,
    True,
    False,
    "10",
    None,
    math.nan,
    math.inf,
    10**400,
    24 * 60 * 60 + 1,
    [],
]
NO_COUNTS = [0, -1, 1.0, True, "10", None, math.nan, math.inf, 10**400, []]
BAD = {
    "REDIS_URL": [
        "", "localhost", "localhost:6379", "http://localhost", "redis:/[", "redis://[::1",
        "redis://host:port", "redis://host:99999", None, 5, b"redis://localhost", ["redis://x"],
    ],
    "REDIS_TIMEOUT": NO_DURATIONS,
    "STREAM_PREFIX": ["", "job events:", None, 5, b"x"],
    "MAX_EVENT_BYTES": NO_COUNTS,
    "PAGE_LIMIT": NO_COUNTS,
    "KEEP_ALIVE": NO_DURATIONS,
    "SEND_TIMEOUT": NO_DURATIONS,
    "STREAM_TAIL": [-1, 1.5, "1", None, True],
    "STREAM_TTL": [-1, "1", None, True, math.nan, math.inf, 30 * 24 * 60 * 60 + 1],
}  # fmt: skip
IDS = {
    "REDIS_URL": "job_events.E002",
    "STREAM_TAIL": "job_events.E008",
    "STREAM_TTL": "job_events.E009",
    "REDIS_TIMEOUT": "job_events.E003",
    "STREAM_PREFIX": "job_events.E004",
    "MAX_EVENT_BYTES": "job_events.E005",
    "PAGE_LIMIT": "job_events.E006",
    "KEEP_ALIVE": "job_events.E007",
    "SEND_TIMEOUT": "job_events.E010",
}


def found(settings, **keys):
    settings.JOB_EVENTS = keys
    return check_settings(None)


def test_every_setting_has_a_rule_and_an_id_of_its_own():
    assert set(RULES) == KEYS == set(GOOD) == set(BAD)
    assert {name: rule.id for name, rule in RULES.items()} == IDS


@pytest.mark.parametrize("name", GOOD)
def test_a_good_value(settings, name):
    for value in GOOD[name]:
        assert found(settings, **{name: value}) == [], value


@pytest.mark.parametrize("name", BAD)
def test_a_bad_value(settings, name):
    for value in BAD[name]:
        (message,) = found(settings, **{name: value})
        assert message.id == IDS[name]
        assert message.level == checks.ERROR
        assert name in message.msg
        assert message.hint.startswith("It must be ")
        assert len(message.msg) < 300


def test_the_defaults_are_good(settings, monkeypatch):
    monkeypatch.delenv("REDIS_URL", raising=False)
    settings.JOB_EVENTS = {}
    defaults = {name: getattr(event_settings, name) for name in KEYS}
    assert found(settings, **defaults) == []


@pytest.mark.parametrize("value", [None, [], "text", 5, ["REDIS_URL"]])
def test_a_setting_that_is_no_dict(settings, value):
    settings.JOB_EVENTS = value
    (message,) = check_settings(None)
    assert message.id == "job_events.E001"
    assert event_settings.PAGE_LIMIT == 1000


def test_a_project_without_the_setting(settings):
    del settings.JOB_EVENTS
    assert check_settings(None) == []
    assert event_settings.STREAM_PREFIX == "job_events:"


def test_several_bad_values_are_all_told(settings):
    messages = found(settings, REDIS_URL="x", KEEP_ALIVE=-1, PAGE_LIMIT="x")
    assert {message.id for message in messages} == {
        "job_events.E002", "job_events.E006", "job_events.E007",
    }  # fmt: skip


def test_the_check_is_registered(settings):
    settings.JOB_EVENTS = {"PAGE_LIMIT": 0}
    assert "job_events.E006" in {message.id for message in checks.run_checks()}


def test_numbers():
    assert all(is_number(value) for value in (0, 0.0, 1, 1e300))
    assert not any(is_number(value) for value in (-1, math.nan, math.inf, True, "1", None, 1j))
    assert is_number(100, most=100)
    assert not is_number(100.01, most=100)
    assert all(is_count(value) for value in (1, 2**40))
    assert not any(is_count(value) for value in (0, 1.0, True, "1", None))
