"""Figures: what an attempt adds, the merge of periods, and the limit of labels."""

from datetime import UTC, datetime

import pytest

from jobs.monitoring import figures
from jobs.monitoring.figures import EndedAttempt, PeriodFigures, limited, merged, size
from jobs.monitoring.histogram import bucket_of, quantile


def attempt(**changed):
    given = {
        "finished_at": datetime(2026, 11, 26, tzinfo=UTC),
        "task_type": "report",
        "status": "completed",
        "reason": "",
        "number": 1,
        "queue_wait": 10.0,
        "duration": 30.0,
        "first_event": 12.0,
    }
    return EndedAttempt(**{**given, **changed})


def of(*attempts):
    found = PeriodFigures()
    for each in attempts:
        found.add_attempt(each)
    return found.values()


def test_an_attempt_counts_with_its_durations():
    values = of(attempt())
    assert values["attempts_ended"] == {"report": {"completed": 1}}
    assert "failures" not in values
    medians = {name: quantile(values[name]["report"], 0.5) for name in figures.HISTOGRAMS}
    assert medians["queue_wait"] == pytest.approx(10, rel=0.05)
    assert medians["duration"] == pytest.approx(30, rel=0.05)
    assert medians["first_event"] == pytest.approx(12, rel=0.05)


def test_only_the_first_attempt_has_a_time_to_the_first_event():
    assert "first_event" not in of(attempt(number=2))


def test_an_attempt_that_never_started_has_no_durations():
    values = of(attempt(status="cancelled", queue_wait=None, duration=None, first_event=None))
    assert values == {"attempts_ended": {"report": {"cancelled": 1}}}


def test_failures_count_by_reason():
    failed = [attempt(status="failed", reason=reason) for reason in ("worker_lost", "", "")]
    assert of(*failed)["failures"] == {"worker_lost": 1, "error": 2}


def test_a_start_before_the_creation_counts_as_no_wait():
    values = of(attempt(queue_wait=-1.0))
    assert values["queue_wait"]["report"] == {bucket_of(0.0): 1}


def test_usage_adds_up_by_task_type(settings):
    prices = {"gpt": {"input": 1.0, "output": 10.0}}
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "MODEL_PRICES": prices}
    found = PeriodFigures()
    usage = {"gpt-5": {"calls": 1, "input_tokens": 1_000_000, "output_tokens": 100_000}}
    found.add_usage("report", usage)
    found.add_usage("report", usage)
    found.add_usage("free", {"llama": {"calls": 1, "input_tokens": 5, "output_tokens": 0}})
    assert found.values() == {
        "tokens": {"report": {"input": 2_000_000, "output": 200_000}, "free": {"input": 5}},
        "cost": {"report": 4.0},
    }


def test_periods_are_merged_by_the_kind_of_figure():
    first = {"processors": 2, "outbox_age": 3.0, "events_appended": 5, "jobs_created": {"a": 1}}
    second = {"processors": 1, "outbox_age": 9.5, "jobs_created": {"a": 2, "b": 1}, "streams": 4}
    assert merged([first, second]) == {
        "processors": 1, "outbox_age": 9.5, "events_appended": 5, "jobs_created": {"a": 3, "b": 1},
        "streams": 4,
    }  # fmt: skip


def test_the_merge_changes_no_period():
    first = {"attempts_ended": {"a": {"failed": 1}}}
    merged([first, {"attempts_ended": {"a": {"failed": 2}}}])
    assert first == {"attempts_ended": {"a": {"failed": 1}}}


def test_rare_labels_count_as_other():
    counts = {f"type{n:03}": {"failed": 200 - n} for n in range(100)}
    value = limited(counts)
    assert len(value) == figures.MAX_LABELS
    assert value["type000"] == {"failed": 200}
    assert "type050" not in value
    assert size(value) == size(counts)
    again = limited({**value, "new": {"completed": 1}})
    assert again["other"]["completed"] == 1
    assert len(again) == figures.MAX_LABELS
    assert size(again) == size(counts) + 1
