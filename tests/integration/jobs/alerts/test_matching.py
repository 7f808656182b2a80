"""Rules about events and about the usage of a job, through the archiver and the evaluator."""

from datetime import timedelta

import pytest
from django.utils import timezone

from events.conf import event_settings
from events.models import ArchivedEvent
from events.publisher import get_publisher
from events.streams.keys import StreamKeys
from jobs import services
from jobs.alerts import matching
from jobs.models import Alert, AlertMatch, AlertMessage, AlertRule, Job
from tests.integration.jobs.alerts.support import messages, states
from tests.integration.jobs.conftest import archived

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def publish(job, event_type="error", **data):
    get_publisher().publish_event(job.job_id, {"event_type": event_type, **data})


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch):
    monkeypatch.setattr(matching, "CACHE_SECONDS", 0.0)


@pytest.fixture
def event_rule(stage):
    def event_rule(**parameters):
        entry = {"kind": "event", "event_type": "error", **parameters}
        stage.configure(ALERT_RULES={"errors": entry})

    event_rule()
    return event_rule


def matched():
    return set(AlertMatch.objects.values_list("job_id", flat=True))


def test_event_of_a_type(stage, event_rule, make_job):
    job, other = make_job("running", task_type="report"), make_job("running")
    publish(job, text="confidential")
    publish(other, "phase_update")
    archived()
    stage.evaluate()
    (alert,) = Alert.objects.all()
    assert (alert.subject, alert.state) == (job.job_id, "firing")
    assert alert.summary == f"Job {job.job_id} (report) has published an event error."
    stage.evaluate(after=30)
    message = AlertMessage.objects.get()
    assert message.body["alerts"][0]["url"].endswith(f"/{job.job_id}/")
    assert "confidential" not in str(message.body)


@pytest.mark.parametrize(
    "parameters",
    [
        {"equals": {"data.code": 5}},
        {"equals": {"data.flag": True, "data.none": None}},
        {"equals": {"data.items.name": "b"}},
        {"contains": {"data.text": "TIMED out"}},
        {"contains": {"data.texts": "second"}},
        {"equals": {"data.code": 5}, "contains": {"data.text": "timed"}},
        {"task_type": "manual"},
    ],
    ids=str,
)
def test_event_with_data(event_rule, make_job, parameters):
    event_rule(**parameters)
    job = make_job("running")
    items = [{"name": "a"}, {"name": "b"}, 5]
    texts = ["first", "the second"]
    publish(job, code=5, flag=True, none=None, items=items, text="It timed out", texts=texts)
    archived()
    assert matched() == {job.job_id}


def test_path_is_that_of_event_filters(event_rule, make_job):
    event_rule(contains={"data.data.message": "timed out"})
    flat, nested = make_job("running"), make_job("running")
    publish(flat, message="It timed out")
    publish(nested, data={"message": "It timed out"})
    archived()
    assert matched() == {nested.job_id}


@pytest.mark.parametrize(
    "parameters",
    [
        {"event_type": "other"},
        {"equals": {"data.code": "5"}},
        {"equals": {"data.flag": 1}},
        {"equals": {"data.flag.x": True}},
        {"equals": {"data.missing": None}},
        {"equals": {"data.code": 5, "data.flag": False}},
        {"contains": {"data.code": "5"}},
        {"contains": {"data.x": "x"}},
        {"task_type": "report"},
    ],
    ids=str,
)
def test_event_with_other_data(event_rule, make_job, parameters):
    event_rule(**parameters)
    publish(make_job("running"), code=5, flag=True)
    archived()
    assert matched() == set()


def test_entries_of_other_programs(event_rule, redis_client, make_job, log):
    """A stream may contain anything; the archiver must not stall."""
    event_rule(event_type="unknown", equals={"data.a": 1}, contains={"data.raw": "x"})
    job = make_job("running")
    publish(job)
    key = StreamKeys(event_settings.STREAM_PREFIX).pair(job.job_id)[0]
    redis_client.xadd(key, {"event": "[[]]"})
    redis_client.xadd(key, {"anything": b"\xff"})
    publish(job)
    archived()
    assert len(log(job)) >= 4
    assert matched() == set()


def test_log_without_a_job(event_rule):
    get_publisher().publish_event("no-job", {"event_type": "error"})
    archived()
    assert matched() == set()


def test_alert_resolves_after_the_window(stage, event_rule, make_job):
    event_rule(window=600)
    job = make_job("running")
    publish(job)
    archived()
    stage.evaluate()
    stage.evaluate(after=300)
    later = stage.now
    AlertMatch.objects.update(at=later)  # another event
    stage.evaluate(after=599)
    assert states() == {job.job_id: "firing"}
    stage.evaluate(after=2)
    assert states() == {job.job_id: "resolved"}
    assert not AlertMatch.objects.exists()


def test_further_events_extend_a_match(event_rule, make_job):
    job = make_job("running")
    publish(job)
    archived()
    before = AlertMatch.objects.get()
    AlertMatch.objects.update(at=timezone.now() - timedelta(hours=1))
    publish(job)
    publish(job)
    archived()
    after = AlertMatch.objects.get()
    assert after.pk == before.pk
    assert after.event_id > before.event_id
    assert after.at > before.at


def test_rule_of_the_admin(stage, make_job):
    AlertRule.objects.create(name="mine", kind="event", parameters={"event_type": "error"})
    job = make_job("running")
    publish(job)
    archived()
    stage.evaluate()
    assert states() == {job.job_id: "firing"}
    AlertRule.objects.update(enabled=False)
    stage.evaluate(after=5)
    assert states() == {job.job_id: "resolved"}
    assert not AlertMatch.objects.exists()


def model_result(job, tokens):
    data = {"model": "gpt-x", "usage": {"input_tokens": tokens, "output_tokens": 0}}
    publish(job, "model_result", **data)


def test_tokens_and_cost_of_a_job(stage, make_job):
    prices = {"gpt": {"input": 1000.0, "output": 1.0}}
    tokens, cost = {"kind": "tokens", "limit": 100}, {"kind": "cost", "limit": 0.25}
    stage.configure(ALERT_RULES={"tokens": tokens, "cost": cost}, MODEL_PRICES=prices)
    job = make_job("running", task_type="report")
    model_result(job, 100)
    archived()
    stage.evaluate()
    assert not Alert.objects.exists()
    model_result(job, 100)
    archived()
    stage.evaluate(after=5)
    alert = Alert.objects.get()
    assert (alert.rule, alert.subject, alert.value) == ("tokens", job.job_id, 200)
    assert alert.summary == f"Job {job.job_id} (report) has used more than 100 tokens."
    model_result(job, 100)
    archived()
    stage.evaluate(after=5)
    alert = Alert.objects.get(rule="cost")
    assert alert.value == pytest.approx(0.3)
    assert alert.summary == f"Job {job.job_id} (report) has cost more than 0.25 USD."


@pytest.mark.extended
def test_storm(stage, event_rule, settings):
    """1,000 failures within a minute: one message, with the count."""
    stage.configure(ALERT_GROUP_WAIT=60)
    event_rule(event_type="task_failed")
    for part in range(4):
        for number in range(250):
            job = services.job_create(task_type="manual", job_id=f"job-{part}-{number}")
            services.job_fail(job_id=job.job_id, error="boom")
        archived()
        stage.evaluate(after=15)
    assert Alert.objects.filter(state="firing").count() == 1000
    assert messages() == []
    stage.evaluate(after=15)
    assert messages() == [("errors", "firing", 1000)]
    message = AlertMessage.objects.get()
    assert len(message.body["alerts"]) == 20
    assert message.deliveries.count() == 1
    assert Alert.objects.filter(firing_message=message).count() == 1000
    stage.evaluate(after=1000)
    assert len(messages()) == 1
    stage.evaluate(after=3600)
    stage.evaluate(after=60)
    assert messages() == [("errors", "firing", 1000), ("errors", "resolved", 1000)]


def test_rules_are_read_every_few_seconds(monkeypatch, make_job, django_assert_num_queries):
    monkeypatch.setattr(matching, "CACHE_SECONDS", 60.0)
    projection = matching.AlertProjection()
    projection.apply({})
    with django_assert_num_queries(0):
        projection.apply({"a": []})


def test_usage_is_that_of_the_same_transaction(stage, make_job):
    """The projection runs after the one that updates the usage."""
    stage.configure(ALERT_RULES={"tokens": {"kind": "tokens", "limit": 5}})
    job = make_job("running")
    model_result(job, 10)
    archived()
    assert Job.objects.get().usage["gpt-x"]["input_tokens"] == 10
    assert matched() == {job.job_id}


def test_lists_nested_deeper_than_the_stack(stage, event_rule, make_job, redis_client):
    event_rule(contains={"data.text": "timeout"}, equals={"data.code": 5})
    job = make_job("running")
    publish(job, "thought")
    data = '{"event_type": "error", "data": %s}' % ("[" * 1000 + "]" * 1000)
    redis_client.xadd(StreamKeys(event_settings.STREAM_PREFIX).stream(job.job_id), {"data": data})
    archived()
    assert ArchivedEvent.objects.filter(event_type="error").exists()
    assert not matched()


@pytest.mark.parametrize(
    "values",
    [
        {"ALERT_RULES": None},
        {"ALERT_RULES": {"a": 5, "b" * 65: {"kind": "lag"}, "c\0": {"kind": "lag"}}},
        {"ALERT_CHANNELS": None},
        {"ALERT_RULES": {"a": {"kind": "cost", "limit": 1}}, "MODEL_PRICES": {"gpt": 5}},
        {"ALERT_RULES": {"a": {"kind": "cost", "limit": 1}}, "MODEL_PRICES": None},
    ],
    ids=str,
)
def test_invalid_settings_stop_neither_archiver_nor_evaluator(stage, make_job, values):
    AlertRule.objects.create(name="mine", kind="event", parameters={"event_type": "error"})
    stage.configure(**{"ALERT_RULES": {}, **values})
    job = make_job("running")
    publish(job)
    model_result(job, 100)
    archived()
    assert matched() == {job.job_id}
    stage.evaluate()
    assert Alert.objects.get(subject=job.job_id).rule == "mine"
