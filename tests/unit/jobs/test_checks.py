"""System checks of the settings of jobs/ and of unknown keys."""

import math

import pytest
from django.core import checks

from jobs.checks import check_settings
from jobs.conf import JobSettings, job_settings

# Some of Django's own checks open the database.
pytestmark = pytest.mark.django_db

DURATIONS = ("LOGIN_TIMEOUT", "RECHECK_LOGINS", "RECHECK_JOBS")
GOOD = {
    **{name: [0.1, 4, 60.0, 24 * 60 * 60] for name in DURATIONS},
    "MAX_SUBSCRIPTIONS": [1, 100, 10_000],
    "AUTO_CANCEL_SECONDS": [{}, {"chat": 15}, {"a": 30.5, "b": 3600}],
    "WORKER_TIMEOUT": [3, 30.0, 24 * 60 * 60],
    "QUEUE_TIMEOUT": [None, 0.5, 86_400, 10 * 365 * 86_400],
    "RUNNERS": [
        {},
        {"a": print},
        {"a": "os.path.join"},
        {"a": "jobs.services.job_start", "b": len},
    ],
    "MAX_PAYLOAD_BYTES": [1, 1024 * 1024],
    "CHAT_MODEL": ["", "openai:gpt", "ollama:llama:7b", "offline:0.02"],
    "RETENTION": [{}, {"*": {"days": 0.5}}, {"a": {"days": 90, "events": 1}, "*": {"events": 9}}],
    "VISIBLE_JOBS": [print, "jobs.selectors.own_jobs"],
    "MAY_START": [print, "jobs.selectors.has_start_permission"],
    "JOBS_WITHOUT_RUNNER": [True, False],
    "RUN_TIMEOUT": [{}, {"*": None, "report": 60, "other": 0.5}],
    "SAMPLE_DAYS": [14, 0.5],
    "STUCK_SECONDS": [600, 0.5],
    "MODEL_PRICES": [{}, {"a": {"input": 2.5, "output": 10}}],
    "CURRENCY": ["EUR", ""],
    "METRICS_TOKEN": ["", "secret"],
    "ALERT_RULES": [{}, {"a": {"kind": "lag", "seconds": 5, "for": 60, "channels": ["signal"]}}],
    "ALERT_CHANNELS": [{}],
    "ALERT_GROUP_WAIT": [0, 30.5],
    "ALERT_GROUP_INTERVAL": [0, 300],
    "SITE_URL": ["", "https://jobs.example.org", "http://localhost:8000/"],
}
BAD = {
    **{name: [0, -1, True, "5", None, math.nan, math.inf, 24 * 60 * 60 + 1] for name in DURATIONS},
    "MAX_SUBSCRIPTIONS": [0, -1, 1.5, True, "1", None],
    "AUTO_CANCEL_SECONDS": [None, 30, [], {"a": 14}, {"a": "30"}, {5: 30}, {"a": True}, {"a": 1e6}],
    "WORKER_TIMEOUT": [0, 2.9, -1, True, "30", None, math.nan, math.inf, 24 * 60 * 60 + 1],
    "QUEUE_TIMEOUT": [0, -1, True, "30", math.nan, math.inf, 10**400],
    "RUNNERS": [None, [], "text", 5, {"a": None}, {"a": 5}, {5: print}, {"a": ["x"]}],
    "MAX_PAYLOAD_BYTES": [0, -1, 1.5, True, "1", None, math.nan, math.inf, 10**400],
    "CHAT_MODEL": ["gpt", ":gpt", "openai:", ":", None, 5, b"a:b"],
    "RETENTION": [
        None,
        [],
        {"*": {}},
        {"*": 5},
        {5: {"days": 1}},
        {"*": {"days": 0}},
        {"*": {"days": "1"}},
        {"*": {"events": 0}},
        {"*": {"events": 1.5}},
        {"*": {"weeks": 1}},
        {"*": {"days": None}},
    ],
    "VISIBLE_JOBS": [None, "", "own_jobs", "jobs.selectors.nothing", "no.such.module", 5, []],
    "MAY_START": [None, 5, "nowhere.at_all"],
    "JOBS_WITHOUT_RUNNER": [None, 1, "yes"],
    "RUN_TIMEOUT": [None, 60, {"*": 0}, {"*": "60"}, {5: 60}],
    "SAMPLE_DAYS": [0, None, "14"],
    "STUCK_SECONDS": [0, None],
    "MODEL_PRICES": [
        [],
        {"a": 5},
        {"a": {"input": 1}},
        {5: {"input": 1, "output": 1}},
        {"a": {"input": 1e300, "output": 1}},
    ],
    "CURRENCY": [None],
    "METRICS_TOKEN": [None, 5],
    "ALERT_RULES": [[], {"a": "b"}],
    "ALERT_CHANNELS": [None, {"a": []}],
    "ALERT_GROUP_WAIT": [-1, None],
    "ALERT_GROUP_INTERVAL": [-1, "5"],
    "SITE_URL": [None, "jobs.example.org", "ftp://a", "https://", "https://a/b", "https://a:b@c"],
}
IDS = {
    "RUNNERS": "job_events.E020",
    "MAX_PAYLOAD_BYTES": "job_events.E021",
    "CHAT_MODEL": "job_events.E022",
    "LOGIN_TIMEOUT": "job_events.E026",
    "RECHECK_LOGINS": "job_events.E027",
    "RECHECK_JOBS": "job_events.E028",
    "MAX_SUBSCRIPTIONS": "job_events.E029",
    "VISIBLE_JOBS": "job_events.E030",
    "RETENTION": "job_events.E031",
    "AUTO_CANCEL_SECONDS": "job_events.E034",
    "WORKER_TIMEOUT": "job_events.E032",
    "QUEUE_TIMEOUT": "job_events.E033",
    "MAY_START": "job_events.E035",
    "JOBS_WITHOUT_RUNNER": "job_events.E036",
    "RUN_TIMEOUT": "job_events.E037",
    "SAMPLE_DAYS": "job_events.E050",
    "STUCK_SECONDS": "job_events.E051",
    "MODEL_PRICES": "job_events.E052",
    "CURRENCY": "job_events.E053",
    "METRICS_TOKEN": "job_events.E054",
    "ALERT_RULES": "job_events.E055",
    "ALERT_CHANNELS": "job_events.E056",
    "ALERT_GROUP_WAIT": "job_events.E057",
    "ALERT_GROUP_INTERVAL": "job_events.E058",
    "SITE_URL": "job_events.E059",
}

NOT_CALLABLE = "text"


def messages_for(settings, **keys):
    settings.JOB_EVENTS = keys
    return check_settings(None)


def test_every_setting_has_a_check_id():
    table = JobSettings.table()
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


def test_defaults_are_valid(settings):
    settings.JOB_EVENTS = {}
    defaults = {name: getattr(job_settings, name) for name in JobSettings.table()}
    assert messages_for(settings, **defaults) == []


@pytest.mark.parametrize(
    "path", ["", "nodots", "nowhere.at_all", "os.no_such_name", "..", f"{__name__}.NOT_CALLABLE"]
)
def test_runner_that_cannot_be_imported(settings, path):
    (message,) = messages_for(settings, RUNNERS={"it": path, "other": print})
    assert message.id == "job_events.E025"
    assert message.level == checks.ERROR
    assert "'it'" in message.msg


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"run": print, "template": "a.html"}, "unknown keys: template"),
        ({"form": "jobs.pages.forms.PayloadForm"}, "The runner None of 'it' is not callable"),
        ({"run": "nowhere.at_all"}, "The runner 'nowhere.at_all' of 'it' cannot be imported"),
        ({"run": print, "form": "nowhere.Form"}, "The form 'nowhere.Form' of 'it' cannot be"),
        ({"run": print, "form": dict}, "is not a subclass of forms.Form"),
        ({"run": print, "form": 5}, "is not a subclass of forms.Form"),
        ({"run": print, "result_template": "no.html"}, "result template 'no.html' of 'it' cannot"),
        ({"run": print, "permission": 5}, "permission 5 of 'it' is no"),
        ({"run": print, "permission": ""}, "permission '' of 'it' is no"),
    ],
)
def test_malformed_entry_of_runners(settings, entry, message):
    (error,) = messages_for(settings, RUNNERS={"it": entry, "other": print})
    assert error.id == "job_events.E025"
    assert message in error.msg


def test_entry_with_all_keys(settings):
    entry = {
        "run": print,
        "form": "jobs.pages.forms.PayloadForm",
        "result_template": "job_events_jobs/base.html",
        "permission": "job_events_jobs.add_job",
    }
    assert messages_for(settings, RUNNERS={"it": entry}) == []


def test_unknown_key(settings):
    (message,) = messages_for(settings, REDIS_ULR="redis://localhost", PAGE_LIMIT=5, CHAT_MODEL="")
    assert message.id == "job_events.W001"
    assert message.level == checks.WARNING
    assert "'REDIS_ULR'" in message.msg
    assert "REDIS_URL" in message.hint


def test_unknown_key_that_is_not_a_string(settings):
    settings.JOB_EVENTS = {5: 1, None: 2}
    assert [message.id for message in check_settings(None)] == ["job_events.W001"] * 2


def test_setting_that_is_not_a_dict_is_reported_once(settings):
    settings.JOB_EVENTS = ["RUNNERS"]
    assert check_settings(None) == []
    assert "job_events.E001" in {message.id for message in checks.run_checks()}


def test_check_is_registered(settings):
    settings.JOB_EVENTS = {"CHAT_MODEL": "yes"}
    assert "job_events.E022" in {message.id for message in checks.run_checks()}


def test_settings_of_this_site_are_valid():
    assert [message for message in checks.run_checks() if "job_events" in message.id] == []
