"""Histograms: quantiles within 5 %, also of merged histograms and of extreme durations."""

import random
from collections import Counter

import pytest

from jobs.monitoring.figures import sum_of
from jobs.monitoring.histogram import bucket_end, bucket_of, count_of, quantile


def histogram(durations):
    return dict(Counter(map(bucket_of, durations)))


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("mean", [-4, 0, 4, 8])
def test_quantiles_differ_by_at_most_5_percent(share, mean):
    durations = sorted(random.Random(mean).lognormvariate(mean, 1) for _ in range(1000))
    exact = durations[int(share * 1000) - 1]
    assert quantile(histogram(durations), share) == pytest.approx(exact, rel=0.05)


def test_merged_histograms_have_the_quantiles_of_all_durations():
    short, long = histogram([0.1] * 90), histogram([60.0] * 10)
    both = sum_of([short, long])
    assert count_of(both) == 100
    assert quantile(both, 0.5) == pytest.approx(0.1, rel=0.05)
    assert quantile(both, 0.95) == pytest.approx(60, rel=0.05)


def test_one_duration_is_every_quantile():
    assert quantile(histogram([3.0]), 0.0) == quantile(histogram([3.0]), 1.0)
    assert quantile(histogram([3.0]), 0.5) == pytest.approx(3, rel=0.05)


def test_no_durations_have_no_quantile():
    assert quantile({}, 0.5) is None


@pytest.mark.parametrize("seconds", [-5.0, 0.0, 1e-9])
def test_durations_of_less_than_a_millisecond_count_as_that(seconds):
    assert 0.0009 < quantile(histogram([seconds]), 0.5) < 0.0011


def test_durations_of_years_count_as_two_years():
    assert bucket_of(1e12) == bucket_of(3e9)


def test_the_end_of_a_bucket_is_the_next_one():
    assert bucket_of(bucket_end("7") * 1.001) == "8"
    assert bucket_of(bucket_end("7") * 0.999) == "7"
