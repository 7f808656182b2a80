"""Conditions of each kind of rule, with rows as services and the sampler write them."""

from datetime import timedelta

import pytest
from django.utils import timezone

from events.exceptions import RedisUnavailable
from events.execution.run import Reason
from events.processor.lag import ArchiveLag
from events.processor.problems import PROBLEM_CODES, Problem
from events.processor.status import OutboxStatus
from events.streams.memory import RedisMemory
from jobs import services
from jobs.alerts import conditions
from jobs.alerts.conditions import Observation, interval, occurrences
from jobs.alerts.rules import KINDS, REPORTED_CODES, definition_of
from jobs.models import Alert, Attempt, InputRequest, Job, Sample, Task
from jobs.monitoring.histogram import bucket_of
from tests.integration.jobs.alerts.support import states

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def found(kind, now=None, **parameters):
    """Return the occurrences of a rule by subject."""
    rule = definition_of("rule", {"kind": kind, **parameters})
    assert not rule.error
    observation = Observation(now or timezone.now())
    return {each.subject: each for each in occurrences(rule, observation)}


def ago(seconds):
    return timezone.now() - timedelta(seconds=seconds)


@pytest.fixture
def running(make_job):
    """Creates a running job with other values of columns."""

    def running(**fields):
        job = make_job("running", task_type=fields.pop("task_type", "report"))
        Job.objects.filter(pk=job.pk).update(**fields)
        return job

    return running


def heartbeat(job, seconds, **fields):
    return Task.objects.create(
        job=job,
        attempt_id=job.attempt_key,
        queue="celery",
        external_id="1",
        task_type=job.task_type,
        state=fields.pop("state", "running"),
        worker="worker-1",
        heartbeat_at=ago(seconds),
        **fields,
    )


def test_failure_rate(make_job):
    for task_type, failed, completed in (("a", 3, 7), ("b", 1, 9), ("c", 4, 0)):
        for status, count in (("failed", failed), ("completed", completed)):
            for _ in range(count):
                make_job(status, task_type=task_type)
    parameters = {"threshold": 0.3, "min_count": 10}
    assert set(found("failure_rate", **parameters)) == {"a"}
    occurrence = found("failure_rate", **parameters)["a"]
    assert occurrence.value == pytest.approx(0.3)
    assert occurrence.summary == "3 of 10 attempts of a failed within 300 s."
    assert set(found("failure_rate", threshold=0.1, min_count=4)) == {"a", "b", "c"}
    assert set(found("failure_rate", threshold=0.1, min_count=4, task_type="b")) == {"b"}
    later = timezone.now() + timedelta(seconds=301)
    assert found("failure_rate", now=later, **parameters) == {}


def test_stuck_job(running):
    old = {"started_at": ago(700), "last_event_at": ago(650)}
    stuck = running(**old)
    beating = running(**old)
    heartbeat(beating, 5)
    silent = running(**old)
    heartbeat(silent, 620)
    asked = running(**old)
    InputRequest.objects.create(job=asked, attempt=1, name="q", prompt="?")
    running(started_at=ago(700), last_event_at=ago(10))
    assert set(found("stuck_job")) == {stuck.job_id, silent.job_id}
    assert found("stuck_job", seconds=660) == {}
    assert found("stuck_job", task_type="other") == {}
    summary = found("stuck_job")[stuck.job_id].summary
    assert summary == (f"Job {stuck.job_id} (report) has had no event and no heartbeat for 600 s.")
    services.job_fail(job_id=stuck.job_id, error="x")
    assert set(found("stuck_job")) == {silent.job_id}


def test_job_without_any_event_is_stuck(running):
    job = running(started_at=ago(700), last_event_at=None)
    assert set(found("stuck_job")) == {job.job_id}


def test_no_first_event(running, make_job):
    late = running(created_at=ago(100))
    running(created_at=ago(100), first_event_at=ago(90))
    running(created_at=ago(50))
    pending = make_job(task_type="report")
    Job.objects.filter(pk=pending.pk).update(created_at=ago(100))
    ended = make_job("failed", task_type="report")
    Job.objects.filter(pk=ended.pk).update(created_at=ago(100))
    assert set(found("no_first_event")) == {late.job_id, pending.job_id}
    assert found("no_first_event", seconds=120) == {}
    assert found("no_first_event", task_type="other") == {}


def durations(task_type, seconds, count, at):
    value = {task_type: {bucket_of(seconds): count}}
    Sample.objects.create(name="duration", seconds=3600, at=at, value=value)


def test_slow_job(running):
    durations("report", 10.0, 15, ago(7200))
    durations("report", 10.0, 5, ago(3600))
    slow = running(started_at=ago(40))
    running(started_at=ago(20))
    running(started_at=ago(4000), task_type="other")
    occurrence = found("slow_job")[slow.job_id]
    assert list(found("slow_job")) == [slow.job_id]
    assert occurrence.value == pytest.approx(40, abs=10)
    assert found("slow_job", min_count=21) == {}
    assert found("slow_job", factor=5) == {}
    assert found("slow_job", task_type="other") == {}
    later = timezone.now() + timedelta(days=7)
    assert found("slow_job", now=later) == {}


def test_missing_heartbeat(running):
    silent, beating = running(), running()
    heartbeat(silent, 20)
    heartbeat(beating, 5)
    assert set(found("missing_heartbeat")) == {silent.job_id}
    assert "worker-1" in found("missing_heartbeat")[silent.job_id].summary
    assert found("missing_heartbeat", seconds=25) == {}
    assert found("missing_heartbeat", task_type="other") == {}


def test_job_that_has_lost_its_worker(running):
    job = running()
    services.job_fail(job_id=job.job_id, error="x", reason=Reason.WORKER_LOST)
    assert Attempt.objects.get(job=job).reason == "worker_lost"
    assert set(found("missing_heartbeat")) == {job.job_id}
    later = timezone.now() + timedelta(seconds=301)
    assert found("missing_heartbeat", now=later) == {}


class FakeStatus:
    outbox = OutboxStatus(5, 90.0)
    archive = ArchiveLag(1, 1, 30.0, True)
    problems = (
        *(Problem(code, f"{code} is wrong.", None, "Act.") for code in PROBLEM_CODES),
        Problem("processor-loops", "Another loop fails.", None, "Act."),
    )


@pytest.fixture
def status(monkeypatch):
    status = FakeStatus()
    monkeypatch.setattr(conditions, "get_status", lambda: status)
    return status


def test_problem(status):
    every = found("problem")
    assert tuple(every) == REPORTED_CODES
    assert "processors" not in every
    assert every["redis-memory"].summary == "redis-memory is wrong. Act."
    expected = "processor-loops is wrong. Act. Another loop fails. Act."
    assert every["processor-loops"].summary == expected
    assert set(found("problem", codes=["lost-events"])) == {"lost-events"}


def test_problem_of_the_real_status(redis_down):
    assert set(found("problem")) == {"redis-connection"}


def test_lag(status):
    assert {each: status.value for each, status in found("lag").items()} == {"outbox": 90.0}
    assert set(found("lag", seconds=20)) == {"outbox", "archive"}
    assert found("lag", seconds=100) == {}


def test_lag_without_redis(status):
    """The lag of the outbox is known; that of the archive is not."""
    status.archive = ArchiveLag(error="down")
    rule = definition_of("rule", {"kind": "lag"})
    each = occurrences(rule, Observation(timezone.now()))
    assert next(each).subject == "outbox"
    with pytest.raises(RedisUnavailable):
        next(each)


def test_redis_memory(monkeypatch):
    memory = RedisMemory(used=86, limit=100)
    monkeypatch.setattr(conditions, "redis_memory", lambda: memory)
    assert found("redis_memory")["redis"].summary == "Redis uses 86 % of its memory."
    assert found("redis_memory", share=0.9) == {}
    memory = RedisMemory(used=86, limit=0)
    assert found("redis_memory") == {}
    memory = RedisMemory(error="down")
    with pytest.raises(RedisUnavailable):
        found("redis_memory")


@pytest.mark.parametrize(("window", "period"), [(600, 60), (7200, 600), (172800, 3600)])
def test_usage_of_a_window(window, period):
    tokens = {"a": {"input": 100, "output": 20}, "b": {"input": 5, "output": 0}}
    for seconds in (window / 2, window - 60):
        at = ago(seconds)
        Sample.objects.create(name="tokens", seconds=period, at=at, value=tokens)
        Sample.objects.create(name="cost", seconds=period, at=at, value={"a": 0.5, "b": 0.25})
    Sample.objects.create(name="tokens", seconds=period, at=ago(2 * window), value=tokens)
    (occurrence,) = found("tokens", per=window, limit=200).values()
    assert (occurrence.subject, occurrence.value) == ("", 250)
    assert found("tokens", per=window, limit=250) == {}
    assert found("tokens", per=window, limit=20, task_type="b") == {}
    assert found("tokens", per=window, limit=9, task_type="b")["b"].value == 10
    assert found("cost", per=window, limit=1.4)[""].value == 1.5
    assert "1.50 USD were used" in found("cost", per=window, limit=1.4)[""].summary
    assert found("cost", per=window, limit=1, task_type="c") == {}


def test_expensive_kinds_are_evaluated_less_often(stage):
    rule = definition_of("a", {"kind": "failure_rate", "window": 3600})
    assert interval(rule) == 60
    assert interval(definition_of("a", {"kind": "missing_heartbeat"})) == 0
    stage.now = stage.now.replace(second=1, microsecond=0)
    stage.subjects = {"a": 1.0}
    stage.evaluate()
    stage.subjects = {}
    for second, expected in ((6, "firing"), (11, "firing"), (16, "resolved")):
        stage.now = stage.now.replace(second=second)
        stage.step()
        assert states() == {"a": expected}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_evaluated(stage, kind):
    """With an empty database, through the evaluator."""
    required = {"tokens": {"limit": 1}, "cost": {"limit": 1}, "event": {"event_type": "error"}}
    entry = {"kind": kind, **required.get(kind, {})}
    rules = {"a": entry, "b": {**entry, "task_type": "x"}}
    if kind in ("tokens", "cost"):
        rules["c"] = {**entry, "per": 86400}
    stage.configure(ALERT_RULES=rules)
    stage.evaluate()
    assert not Alert.objects.exists()
