"""States of alerts: pending, firing, resolved."""

from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from events.conf import event_settings
from events.exceptions import RedisUnavailable
from events.models import ArchivedEvent
from events.processor.processor import build_steps
from events.processor.single_pass import run_single_pass
from events.streams.clients import get_redis
from events.streams.keys import StreamKeys
from jobs.alerts.evaluator import CHECKPOINT, Evaluator
from jobs.models import Alert, AlertMessage, AlertRule, Job, MonitorCheckpoint
from tests.integration.jobs.alerts.support import FAKE_KIND, messages, states

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def test_without_for_an_alert_fires_at_once(stage):
    stage.subjects = {"a": 5.0}
    assert stage.evaluate() == 1
    (alert,) = Alert.objects.all()
    assert (alert.rule, alert.subject, alert.value) == ("fake", "a", 5.0)
    assert alert.summary == "a is 5.0"
    assert alert.pending_at == alert.fired_at == stage.now


def test_condition_must_hold_for_the_duration(stage):
    stage.rule(**{"for": 60})
    stage.subjects = {"a": 1.0}
    stage.evaluate()
    assert states() == {"a": "pending"}
    stage.evaluate(after=59)
    assert states() == {"a": "pending"}
    stage.evaluate(after=1)
    assert states() == {"a": "firing"}
    alert = Alert.objects.get()
    assert alert.fired_at - alert.pending_at == timedelta(seconds=60)


def test_pending_alert_that_ends_is_deleted(stage):
    stage.rule(**{"for": 60})
    stage.subjects = {"a": 1.0}
    stage.evaluate()
    stage.subjects = {}
    stage.evaluate(after=30)
    assert states() == {}
    stage.subjects = {"a": 1.0}
    stage.evaluate(after=30)
    stage.evaluate(after=30)
    assert states() == {"a": "pending"}  # the duration has begun again


def test_firing_alert_resolves_and_another_one_begins(stage):
    stage.subjects = {"a": 1.0, "b": 1.0}
    stage.evaluate()
    stage.subjects = {"b": 1.0}
    stage.evaluate(after=10)
    assert states() == {"a": "resolved", "b": "firing"}
    assert Alert.objects.get(subject="a").resolved_at == stage.now
    stage.subjects = {"a": 1.0, "b": 1.0}
    stage.evaluate(after=10)
    assert list(Alert.objects.filter(subject="a").values_list("state", flat=True)) == [
        "firing",
        "resolved",
    ]


def test_value_and_summary_of_an_open_alert_follow(stage):
    stage.subjects = {"a": 1.0}
    stage.evaluate()
    stage.subjects = {"a": 2.0}
    assert stage.evaluate(after=10) == 0
    alert = Alert.objects.get()
    assert (alert.value, alert.summary) == (2.0, "a is 2.0")


def test_alerts_of_a_removed_rule_resolve(stage):
    stage.subjects = {"a": 1.0}
    stage.evaluate()
    stage.rule("other")
    stage.subjects = {}
    stage.evaluate(after=5)
    assert states() == {"a": "resolved"}


def test_each_rule_has_its_own_alerts(stage):
    rule = {"kind": FAKE_KIND}
    stage.configure(ALERT_RULES={"first": rule, "second": {**rule, "for": 60}})
    stage.subjects = {"a": 1.0}
    stage.evaluate()
    found = set(Alert.objects.values_list("rule", "state"))
    assert found == {("first", "firing"), ("second", "pending")}


def test_at_most_1000_alerts_of_a_rule_are_open(stage):
    stage.subjects = {f"s{number}": None for number in range(1200)}
    stage.evaluate()
    assert Alert.objects.count() == 1001
    assert "more than 1000 subjects" in Alert.objects.get(subject="rule").summary
    stage.subjects = {f"s{number}": None for number in range(100, 1300)}
    stage.evaluate(after=5)
    stage.evaluate(after=5)
    assert Alert.objects.filter(state__in=Alert.OPEN).count() == 1001
    stage.subjects = {}
    stage.evaluate(after=5)
    assert not Alert.objects.filter(state__in=Alert.OPEN).exists()


@pytest.mark.parametrize("count", [10, 1000])
def test_number_of_statements_is_bounded(stage, django_assert_max_num_queries, count):
    stage.configure(ALERT_GROUP_WAIT=0, ALERT_GROUP_INTERVAL=0)
    stage.evaluate()
    stage.subjects = {f"s{number}": None for number in range(count)}
    with django_assert_max_num_queries(50):
        stage.evaluate(after=5)
    stage.subjects = {}
    with django_assert_max_num_queries(50):
        stage.evaluate(after=5)
    assert messages() == [("fake", "firing", count), ("fake", "resolved", count)]


def test_rule_that_cannot_be_evaluated_has_an_alert(stage):
    stage.subjects = {"a": 1.0}
    stage.evaluate()
    stage.subjects, stage.error = {"b": 1.0}, ValueError("broken")
    stage.evaluate(after=5)
    # What was found before the error counts; nothing resolves.
    assert states() == {"a": "firing", "b": "firing", "rule": "firing"}
    assert "broken" in Alert.objects.get(subject="rule").summary
    stage.error = None
    stage.evaluate(after=5)
    assert states() == {"a": "resolved", "b": "firing", "rule": "resolved"}


def test_broken_rule_does_not_wait_for_the_duration(stage):
    stage.rule(**{"for": 600})
    stage.error = ValueError("broken")
    stage.evaluate()
    assert states() == {"rule": "firing"}


def test_invalid_rule_of_the_admin_has_an_alert(stage):
    AlertRule.objects.create(name="unknown", kind="nothing")
    AlertRule.objects.create(name="list", kind="lag", parameters=[5], channels={"a": 1})
    stage.evaluate()
    found = dict(Alert.objects.values_list("rule", "summary"))
    assert set(found) == {"unknown", "list"}
    assert "The kinds are: problem, failure_rate" in found["unknown"]


def test_failure_of_the_database_is_not_an_error_of_the_rule(stage):
    stage.subjects = {"a": 1.0}
    stage.evaluate()
    stage.error = OperationalError("down")
    with pytest.raises(OperationalError):
        stage.evaluate(after=5)
    assert states() == {"a": "firing"}


def test_interval_is_kept_by_all_processors(stage):
    stage.subjects = {"a": 1.0}
    assert stage.evaluate() == 1
    stage.subjects = {}
    stage.now += timedelta(seconds=3)
    assert stage.step() == 0
    assert states() == {"a": "firing"}
    stage.now += timedelta(seconds=30)
    assert stage.step() == 1
    assert states() == {"a": "resolved"}


def test_single_pass_evaluates_after_its_first_round(stage):
    stage.subjects = {"a": 1.0}
    evaluator = Evaluator(single_pass=True)
    assert evaluator.step() == 1
    assert states() == {}
    assert evaluator.step() == 1
    assert states() == {"a": "firing"}
    assert evaluator.step() == 0


def test_events_that_waited_for_a_single_pass_are_no_problem(make_job, settings):
    """`process_events --once` runs the archiver before the relay."""
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "ALERT_RULES": {"lag": {"kind": "lag"}}}
    make_job("completed")
    key = StreamKeys(event_settings.STREAM_PREFIX)
    get_redis().delete(*key.pair(Job.objects.get().job_id))
    minutes = timedelta(minutes=10)
    ArchivedEvent.objects.update(event_id=None, written_at=timezone.now() - minutes)
    run_single_pass(build_steps(single_pass=True), timeout=30)
    assert MonitorCheckpoint.objects.filter(name=CHECKPOINT).exists()
    assert states() == {}


def test_clock_is_turned_back(stage):
    stage.rule(**{"for": 60})
    stage.subjects = {"a": 1.0}
    stage.evaluate()
    stage.now -= timedelta(hours=1)
    assert stage.step() == 0
    assert MonitorCheckpoint.objects.get(name=CHECKPOINT).at == stage.now
    assert Alert.objects.get().pending_at == stage.now  # the duration begins again
    stage.evaluate(after=60)
    assert states() == {"a": "firing"}
    stage.now -= timedelta(hours=1)
    stage.evaluate()
    assert messages() == [("fake", "firing", 1)]
    stage.now -= timedelta(hours=1)
    stage.subjects = {}
    stage.evaluate()
    stage.evaluate(after=30)
    assert [message[1] for message in messages()] == ["resolved", "firing"]


def test_naive_times(settings, make_job):
    """Without USE_TZ, with the clock of the database."""
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Kolkata"
    timezone.get_default_timezone.cache_clear()
    connection.close()
    try:
        rules = {
            "start": {"kind": "no_first_event", "seconds": 5},
            "rate": {"kind": "failure_rate", "min_count": 1},
        }
        settings.JOB_EVENTS = {
            **settings.JOB_EVENTS, "ALERT_RULES": rules, "ALERT_GROUP_WAIT": 0,
        }  # fmt: skip
        job = make_job("running")
        make_job("failed")
        ten = timedelta(seconds=10)
        Job.objects.filter(pk=job.pk).update(created_at=timezone.now() - ten)
        assert Evaluator().step() == 4
        assert Evaluator().step() == 0
        assert states() == {job.job_id: "firing", "manual": "firing"}
        MonitorCheckpoint.objects.update(at=timezone.now() - ten)
        assert Evaluator().step() == 0
        since = {each["since"] for each in AlertMessage.objects.first().body["alerts"]}
        assert [each[-6:] for each in since] == ["+05:30"]
    finally:
        timezone.get_default_timezone.cache_clear()
        connection.close()


def test_first_evaluation_of_a_project(stage):
    assert not MonitorCheckpoint.objects.exists()
    stage.subjects = {"a": 1.0}
    assert stage.step() == 1
    assert MonitorCheckpoint.objects.get().at == stage.now <= timezone.now()


def test_unavailable_redis_is_logged_in_one_line(stage, caplog):
    stage.error = RedisUnavailable("Redis did not answer.")
    stage.evaluate()
    (record,) = [each for each in caplog.records if each.message == "alert_rule_failed"]
    assert (record.levelname, record.exc_info, record.rule) == ("WARNING", None, "fake")
