"""Grouping of alerts into messages, silences, and the history."""

from datetime import timedelta

import pytest

from jobs.alerts.evaluator import delete_history
from jobs.models import Alert, AlertDelivery, AlertMessage, Silence
from tests.integration.jobs.alerts.support import messages, states

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_alerts_are_collected(stage):
    stage.subjects = {"a": 1.0}
    stage.evaluate()
    stage.subjects["b"] = 2.0
    stage.evaluate(after=29)
    assert messages() == []
    stage.subjects["c"] = 3.0
    stage.evaluate(after=1)
    assert messages() == [("fake", "firing", 3)]
    stage.evaluate(after=1000)
    assert len(messages()) == 1


def test_next_message_follows_after_the_interval(stage):
    stage.subjects = {"a": 1.0}
    stage.evaluate()
    stage.evaluate(after=30)
    stage.subjects = {"a": 1.0, "b": 1.0}
    stage.evaluate(after=5)
    stage.evaluate(after=294)
    assert len(messages()) == 1
    stage.evaluate(after=1)
    assert messages() == [("fake", "firing", 1)] * 2
    assert AlertMessage.objects.first().body["firing"] == 2


def test_resolved_alerts_are_collected_as_well(stage):
    stage.subjects = {"a": 1.0, "b": 1.0}
    stage.evaluate()
    stage.evaluate(after=30)
    stage.subjects = {"b": 1.0}
    stage.evaluate(after=270)
    stage.subjects = {}
    stage.evaluate(after=20)
    assert len(messages()) == 1
    stage.evaluate(after=10)
    assert messages() == [("fake", "firing", 2), ("fake", "resolved", 2)]
    assert AlertMessage.objects.first().body["firing"] == 0


def test_alert_that_resolves_unannounced_has_no_message(stage):
    stage.subjects = {"a": 1.0}
    stage.evaluate()
    stage.subjects = {}
    stage.evaluate(after=10)
    stage.evaluate(after=1000)
    assert states() == {"a": "resolved"}
    assert messages() == []


def test_body(stage):
    stage.subjects = {f"s{number:02}": float(number) for number in range(25)}
    stage.evaluate()
    since = stage.now
    stage.evaluate(after=30)
    body = AlertMessage.objects.get().body
    alerts = body.pop("alerts")
    assert len(alerts) == 20
    assert alerts[3] == {
        "subject": "s03",
        "summary": "s03 is 3.0",
        "value": 3.0,
        "since": since.isoformat(),
        "url": "",
    }
    assert body.pop("monitor").endswith("/monitor/") or body.get("monitor", "") == ""
    expected = {"rule": "fake", "kind": "redis_memory", "state": "firing", "count": 25}
    assert body == {**expected, "firing": 25}


def test_deliveries_to_all_channels_or_those_of_the_rule(stage):
    channels = {"ops": {"kind": "email", "to": ["a@example.org"]}}
    channels["more"] = {"kind": "email", "to": ["b@example.org"]}
    stage.configure(ALERT_CHANNELS=channels, ALERT_GROUP_WAIT=0, ALERT_GROUP_INTERVAL=0)
    stage.subjects = {"a": 1.0}
    stage.evaluate()
    found = AlertDelivery.objects.all()
    assert {each.channel for each in found} == {"signal", "ops", "more"}
    assert {each.next_at for each in found} == {stage.now}
    stage.rule(channels=["more"])
    stage.subjects = {"b": 1.0}
    stage.evaluate(after=5)
    for state in ("firing", "resolved"):
        message = AlertMessage.objects.get(state=state, created_at=stage.now)
        found = message.deliveries.values_list("channel", flat=True)
        assert set(found) == {"signal", "more"}


@pytest.mark.parametrize(("rule", "subject"), [("", ""), ("fake", ""), ("", "a"), ("fake", "a")])
def test_silenced_alerts_have_no_message_until_the_silence_ends(stage, rule, subject):
    ends_at = stage.now + timedelta(seconds=600)
    Silence.objects.create(rule=rule, subject=subject, starts_at=stage.now, ends_at=ends_at)
    stage.subjects = {"a": 1.0}
    stage.evaluate()
    stage.evaluate(after=599)
    assert states() == {"a": "firing"}
    assert messages() == []
    stage.evaluate(after=1)
    assert messages() == [("fake", "firing", 1)]


def test_silence_of_others(stage):
    times = {"starts_at": stage.now, "ends_at": stage.now + timedelta(seconds=600)}
    Silence.objects.create(rule="other", **times)
    Silence.objects.create(rule="fake", subject="b", **times)
    stage.subjects = {"a": 1.0, "b": 1.0}
    stage.evaluate()
    stage.evaluate(after=30)
    assert messages() == [("fake", "firing", 1)]
    (shown,) = AlertMessage.objects.get().body["alerts"]
    assert shown["subject"] == "a"


def test_alert_that_resolves_while_silenced(stage):
    stage.subjects = {"a": 1.0, "b": 1.0}
    stage.evaluate()
    stage.evaluate(after=30)
    Silence.objects.create(starts_at=stage.now, ends_at=stage.now + timedelta(seconds=600))
    stage.subjects = {"c": 1.0}
    stage.evaluate(after=5)
    stage.subjects = {}
    stage.evaluate(after=5)
    assert len(messages()) == 1
    stage.evaluate(after=600)
    # The announced alerts resolve; the other one was never announced.
    assert messages() == [("fake", "firing", 2), ("fake", "resolved", 2)]


def test_message_of_a_broken_rule_starts_with_the_error(stage):
    stage.subjects = {f"s{number}": 1.0 for number in range(30)}
    stage.evaluate()
    stage.error = ValueError("broken")
    stage.evaluate(after=5)
    stage.evaluate(after=30)
    assert AlertMessage.objects.get().body["alerts"][0]["subject"] == "rule"


def test_history_is_deleted_after_sample_days(stage):
    stage.configure(SAMPLE_DAYS=1, ALERT_GROUP_WAIT=0, ALERT_GROUP_INTERVAL=0)
    stage.subjects = {"a": 1.0, "b": 1.0}
    stage.evaluate()
    stage.subjects = {"b": 1.0}
    stage.evaluate(after=60)
    AlertDelivery.objects.update(next_at=None)
    delete_history(stage.now + timedelta(hours=23))
    assert Alert.objects.count() == 2
    delete_history(stage.now + timedelta(days=1, seconds=1))
    # The alert that still fires has a message.
    assert states() == {"b": "firing"}
    assert messages() == [("fake", "firing", 2)]
    stage.subjects = {}
    stage.evaluate(after=86400 * 3)
    AlertDelivery.objects.update(next_at=None)
    delete_history(stage.now + timedelta(days=1, seconds=1))
    assert not Alert.objects.exists()
    assert not AlertMessage.objects.exists()
    assert not AlertDelivery.objects.exists()


def test_message_is_kept_while_a_delivery_is_retried(stage):
    stage.configure(SAMPLE_DAYS=0.01, ALERT_GROUP_WAIT=0, ALERT_GROUP_INTERVAL=0)
    stage.subjects = {"a": 1.0}
    stage.evaluate()
    stage.subjects = {}
    stage.evaluate(after=60)
    AlertDelivery.objects.filter(message__state="resolved").update(next_at=None)
    delete_history(stage.now + timedelta(days=1))
    assert messages() == [("fake", "firing", 1)]
    AlertDelivery.objects.update(next_at=None)
    delete_history(stage.now + timedelta(days=1))
    assert messages() == []
