"""Validation of ALERT_CHANNELS, and the channels of a message."""

import pytest

from jobs.alerts.channels import (
    channel_errors,
    channel_names,
    delivery_channels,
    describe_error,
)
from jobs.checks import check_settings

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EMAIL = {"kind": "email", "to": ["Ops <ops@example.org>", "dev@example.org"]}
WEBHOOK = {"kind": "webhook", "url": "https://hooks.example.org/a?b=c", "secret": SECRET}
APPRISE = {"kind": "apprise", "urls": ["json://localhost/token-of-a-service"]}
CHANNELS = {"ops": EMAIL, "hook": {**WEBHOOK, "allow_private": True}, "chat_2": APPRISE}

INVALID = [
    ({"signal": EMAIL}, "'signal' is not a name"),
    ({"a b": EMAIL}, "'a b' is not a name"),
    ({5: EMAIL}, "5 is not a name"),
    ({"a": 5}, "The channel 'a' must be a dict."),
    ({"a": {}}, "no valid `kind`: email, webhook, apprise."),
    ({"a": {"kind": "sms"}}, "no valid `kind`"),
    ({"a": {"kind": ["email"]}}, "no valid `kind`"),
    ({"a": {"kind": "email"}}, "has no `to`: it must be a list of e-mail addresses."),
    ({"a": {**EMAIL, "cc": 5}}, "unknown keys: cc. The keys of 'email': to, from."),
    *(
        ({"a": {**EMAIL, "to": value}}, "invalid `to`")
        for value in ([], "a@example.org", ["a"], [5], ["a@example.org\nBcc: b@example.org"])
    ),
    ({"a": {**EMAIL, "from": "root"}}, "invalid `from`"),
    *(
        ({"a": {**WEBHOOK, "url": value}}, "invalid `url`")
        for value in (
            "ftp://a",
            "https://",
            "https://anna:private@a",
            "https://a:0/",
            "https://a:b/",
            "https://a/ b",
            "https://a/\r\nX: y",
            "https://a#b",
            "https://ä",
            "https://[a",
            5,
        )
    ),
    *(
        ({"a": {**WEBHOOK, "secret": value}}, "invalid `secret`")
        for value in ("private", SECRET[6:], "whsec_", "whsec_cHJpdmF0ZQ==", "whsec_é", None)
    ),
    ({"a": {**WEBHOOK, "allow_private": 1}}, "invalid `allow_private`"),
    *(
        ({"a": {**APPRISE, "urls": value}}, "invalid `urls`")
        for value in ([], "json://a", ["private://token"], [None])
    ),
]


def test_valid_channels(settings):
    assert list(channel_errors(CHANNELS)) == []


@pytest.mark.parametrize(("channels", "text"), INVALID, ids=repr)
def test_invalid_channels(channels, text):
    (error,) = channel_errors(channels)
    assert text in error
    assert "private" not in error.replace("allow_private", "")


def test_system_check(settings):
    settings.JOB_EVENTS = {"ALERT_CHANNELS": {**CHANNELS, "a": {"kind": "sms"}}}
    (message,) = check_settings(None)
    assert message.id == "job_events.E056"
    assert "The channel 'a' has no valid `kind`" in message.msg


def test_channels_of_a_message(settings):
    settings.JOB_EVENTS = {"ALERT_CHANNELS": CHANNELS}
    assert channel_names() == ["signal", "ops", "hook", "chat_2"]
    assert delivery_channels([]) == ["signal", "ops", "hook", "chat_2"]
    assert delivery_channels(["hook"]) == ["signal", "hook"]
    assert delivery_channels(["signal"]) == ["signal"]


@pytest.mark.parametrize("value", [None, 5, []])
def test_setting_that_is_not_a_dict(settings, value):
    settings.JOB_EVENTS = {"ALERT_CHANNELS": value}
    assert channel_names() == ["signal"]


def test_error_is_text_that_a_column_accepts():
    assert describe_error(ValueError("a\0b\ud800\nc")) == "ValueError: a\ufffdb\ufffd"
