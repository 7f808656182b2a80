"""Two evaluators at once: each change of a state and each message is written once."""

from datetime import timedelta
from threading import Barrier, Thread

import pytest
from django.db import connections

from jobs.alerts import evaluator
from jobs.models import Alert, AlertDelivery
from tests.integration.jobs.alerts.support import messages

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture
def evaluate_twice(stage, monkeypatch):
    """Evaluates in two threads that have both read the checkpoint before one writes."""
    active_rules = evaluator.active_rules

    def evaluate_twice(after):
        barrier, counts, errors = Barrier(2), [], []

        def wait_and_read(rows):
            barrier.wait(20)
            return active_rules(rows)

        def run():
            try:
                counts.append(stage.step())
            except Exception as error:  # noqa: BLE001 - checked below
                errors.append(error)
            finally:
                connections.close_all()

        stage.now += timedelta(seconds=after)
        threads = [Thread(target=run) for _ in range(2)]
        with monkeypatch.context() as patch:
            patch.setattr(evaluator, "active_rules", wait_and_read)
            patch.setattr(evaluator, "delete_matches", lambda _now: None)
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert errors == []
        return sorted(counts)

    return evaluate_twice


def test_each_change_is_written_once(stage, evaluate_twice):
    stage.configure(ALERT_GROUP_WAIT=30, ALERT_GROUP_INTERVAL=30)
    stage.rule(**{"for": 60})
    stage.evaluate()
    stage.subjects = {"a": 1.0, "b": 1.0}
    assert evaluate_twice(60) == [0, 2]
    assert list(Alert.objects.values_list("state", flat=True)) == ["pending"] * 2
    assert evaluate_twice(60) == [0, 2]
    assert evaluate_twice(60) == [0, 1]
    assert messages() == [("fake", "firing", 2)]
    stage.subjects = {}
    assert evaluate_twice(60) == [0, 2]
    assert evaluate_twice(60) == [0, 1]
    assert messages() == [("fake", "firing", 2), ("fake", "resolved", 2)]
    assert Alert.objects.count() == AlertDelivery.objects.count() == 2


def test_processor_that_was_paused_writes_nothing(stage, monkeypatch):
    """It has read a condition that has changed, and another processor has evaluated since."""
    stage.subjects = {"a": 1.0}
    stage.evaluate()
    outcome = evaluator._outcome

    def pause(*arguments):
        found = outcome(*arguments)
        monkeypatch.setattr(evaluator, "_outcome", outcome)
        stage.subjects = {}
        assert stage.evaluate(after=60) == 1
        return found

    monkeypatch.setattr(evaluator, "_outcome", pause)
    stage.now += timedelta(seconds=60)
    assert stage.step() == 0
    assert list(Alert.objects.values_list("state", flat=True)) == ["resolved"]
