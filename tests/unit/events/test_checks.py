"""System checks and accessors of the settings of events/."""

import math
import subprocess
import sys

import pytest
from django.apps import apps
from django.core import checks

from events.checks import check_settings
from events.conf import EventSettings, count, event_settings, is_number
from events.database import PrimaryManager

# Some of Django's own checks open the database.
pytestmark = pytest.mark.django_db

GOOD = {
    "REDIS_URL": [
        "redis://127.0.0.1:6379/0",
        "rediss://user:secret@redis.example:6380/1?ssl_cert_reqs=none",
        "unix:///run/redis.sock?db=1",
        "redis://[::1]:6379",
    ],
    "REDIS_CLIENT_FACTORY": ["", "redis.from_url"],
    "REDIS_TIMEOUT": [10, 0.5, 24 * 60 * 60],
    "STREAM_PREFIX": ["job_events:", "x", "{tenant}:"],
    "MAX_EVENT_BYTES": [1, 256 * 1024],
    "PAGE_LIMIT": [1, 1000],
    "KEEP_ALIVE": [15, 0.1],
    "MEMORY_PRESSURE": [0.75, 1, 0.001],
    "SEND_TIMEOUT": [30, 0.1],
    "MAX_REQUESTS": [1, 1000],
    "LOG_ONLY": [True, False],
    "MIRROR_PUBSUB": [True, False],
    "STREAM_TAIL": [0, 1, 1000],
    "STREAM_TTL": [0, 0.5, 3600, 30 * 24 * 60 * 60],
    "TOMBSTONE_TTL": [7200, 30 * 24 * 60 * 60],
}
INVALID_DURATIONS = [
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
INVALID_COUNTS = [0, -1, 1.0, True, "10", None, math.nan, math.inf, 10**400, []]
BAD = {
    "REDIS_URL": [
        "", "localhost", "localhost:6379", "http://localhost", "redis:/[", "redis://[::1",
        "redis://host:port", "redis://host:99999", None, 5, b"redis://localhost", ["redis://x"],
    ],
    "REDIS_CLIENT_FACTORY": ["redis", "redis.nothing", "nothing.at.all", "redis.VERSION", None],
    "REDIS_TIMEOUT": INVALID_DURATIONS,
    "STREAM_PREFIX": ["", "job events:", None, 5, b"x", "a{", "a}b", "{}", "{a}{b}", "}{"],
    "MAX_EVENT_BYTES": INVALID_COUNTS,
    "PAGE_LIMIT": INVALID_COUNTS,
    "KEEP_ALIVE": INVALID_DURATIONS,
    "MEMORY_PRESSURE": [0, -1, 1.01, 75, "75 %", None, True, math.nan, math.inf],
    "SEND_TIMEOUT": INVALID_DURATIONS,
    "MAX_REQUESTS": [0, -1, 1.5, True, None],
    "LOG_ONLY": [None, 1, "yes"],
    "MIRROR_PUBSUB": [None, 1, "yes"],
    "STREAM_TAIL": [-1, 1.5, "1", None, True],
    "STREAM_TTL": [-1, "1", None, True, math.nan, math.inf, 30 * 24 * 60 * 60 + 1],
    "TOMBSTONE_TTL": [0, 7199, "7200", None, True, math.nan, math.inf],
}  # fmt: skip
IDS = {
    "REDIS_URL": "job_events.E002",
    "STREAM_TAIL": "job_events.E008",
    "STREAM_TTL": "job_events.E009",
    "REDIS_CLIENT_FACTORY": "job_events.E016",
    "REDIS_TIMEOUT": "job_events.E003",
    "STREAM_PREFIX": "job_events.E004",
    "MAX_EVENT_BYTES": "job_events.E005",
    "PAGE_LIMIT": "job_events.E006",
    "KEEP_ALIVE": "job_events.E007",
    "SEND_TIMEOUT": "job_events.E010",
    "MAX_REQUESTS": "job_events.E015",
    "MEMORY_PRESSURE": "job_events.E013",
    "LOG_ONLY": "job_events.E011",
    "MIRROR_PUBSUB": "job_events.E018",
    "TOMBSTONE_TTL": "job_events.E012",
}


def messages_for(settings, **keys):
    settings.JOB_EVENTS = keys
    return check_settings(None)


def test_every_setting_has_a_check_id():
    table = EventSettings.table()
    assert set(table) == set(GOOD) == set(BAD)
    assert {name: setting.check_id for name, setting in table.items()} == IDS


@pytest.mark.parametrize("name", GOOD)
def test_valid_value(settings, name):
    for value in GOOD[name]:
        assert messages_for(settings, **{name: value}) == [], value


@pytest.mark.parametrize("name", BAD)
def test_invalid_value(settings, name):
    for value in BAD[name]:
        (message,) = messages_for(settings, **{name: value})
        assert message.id == IDS[name]
        assert message.level == checks.ERROR
        assert name in message.msg
        assert message.hint.startswith("It must be ")
        assert len(message.msg) < 300


def test_defaults_are_valid(settings, monkeypatch):
    monkeypatch.delenv("REDIS_URL", raising=False)
    settings.JOB_EVENTS = {}
    defaults = {name: getattr(event_settings, name) for name in EventSettings.table()}
    assert defaults["REDIS_URL"] == "redis://127.0.0.1:6379/0"
    assert messages_for(settings, **defaults) == []


def test_setting_is_read_on_each_access(settings):
    settings.JOB_EVENTS = {"PAGE_LIMIT": 7}
    assert event_settings.PAGE_LIMIT == 7
    settings.JOB_EVENTS = {"PAGE_LIMIT": 8}
    assert event_settings.PAGE_LIMIT == 8


def test_redis_url_defaults_to_the_environment_variable(settings, monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    settings.JOB_EVENTS = {}
    assert event_settings.REDIS_URL == "redis://elsewhere"
    settings.JOB_EVENTS = {"REDIS_URL": "redis://here"}
    assert event_settings.REDIS_URL == "redis://here"


def test_defaults_hold_without_a_django_project():
    code = "from events.conf import event_settings; print(event_settings.KEEP_ALIVE)"
    environment = {"PATH": "", "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert output.stdout == "15.0\n"


@pytest.mark.parametrize(
    "url", ["redis://:hunter2", "redis://:hun/ter2@h", "redis//:hunter2@h", "http://a:hunter2@h"]
)
def test_messages_do_not_contain_the_password_of_redis(settings, url):
    for value in ({"REDIS_URL": url}, url, [url], {"REDIS_URL": [url]}):
        settings.JOB_EVENTS = value
        (message,) = check_settings(None)
        assert "ter2" not in f"{message} {message.hint}"


@pytest.mark.parametrize("value", [None, [], "text", 5, ["REDIS_URL"]])
def test_setting_that_is_not_a_dict(settings, value):
    settings.JOB_EVENTS = value
    (message,) = check_settings(None)
    assert message.id == "job_events.E001"
    assert event_settings.PAGE_LIMIT == 1000


def test_project_without_the_setting(settings):
    del settings.JOB_EVENTS
    assert check_settings(None) == []
    assert event_settings.STREAM_PREFIX == "job_events:"


def test_all_invalid_values_are_reported(settings):
    messages = messages_for(settings, REDIS_URL="x", KEEP_ALIVE=-1, PAGE_LIMIT="x")
    assert {message.id for message in messages} == {
        "job_events.E002", "job_events.E006", "job_events.E007",
    }  # fmt: skip


def test_check_is_registered(settings):
    settings.JOB_EVENTS = {"PAGE_LIMIT": 0}
    assert "job_events.E006" in {message.id for message in checks.run_checks()}


def test_number_conditions():
    assert all(is_number(value) for value in (0, 0.0, 1, 1e300))
    assert not any(is_number(value) for value in (-1, math.nan, math.inf, True, "1", None, 1j))
    assert is_number(100, most=100)
    assert not is_number(100.01, most=100)
    assert all(count.holds(value) for value in (1, 2**40))
    assert not any(count.holds(value) for value in (0, 1.0, True, "1", None))


@pytest.mark.parametrize("label", ["job_events", "job_events_jobs"])
def test_all_models_are_read_where_they_are_written(label):
    for model in apps.get_app_config(label).get_models():
        assert isinstance(model._default_manager, PrimaryManager), model
        assert isinstance(model._base_manager, PrimaryManager), model
