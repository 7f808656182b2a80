"""Histograms of durations: counts by bucket, each 10 % longer than the one before.

A histogram is a dict of JSON: the keys are the numbers of buckets as text. Those of several periods
are added up. A quantile differs by at most 5 % from that of the durations.
"""

from collections.abc import Mapping
from math import floor, log
from typing import Final

Histogram = Mapping[str, int]

_BASE: Final = 1.1
_LOG_BASE: Final = log(_BASE)
# Of a millisecond and of two years: what is outside counts as that.
_MIN_BUCKET: Final = -73
_MAX_BUCKET: Final = 188
_MIN_SECONDS: Final = _BASE**_MIN_BUCKET


def bucket_of(seconds: float) -> str:
    """Return the bucket of a duration."""
    if seconds <= _MIN_SECONDS:
        return str(_MIN_BUCKET)
    return str(min(floor(log(seconds) / _LOG_BASE), _MAX_BUCKET))


def bucket_end(bucket: str) -> float:
    """Return the longest duration of a bucket in seconds."""
    return float(_BASE ** (int(bucket) + 1))


def bucket_middle(bucket: str) -> float:
    """Return the duration in seconds as which those of a bucket count."""
    return float(_BASE ** (int(bucket) + 0.5))


def count_of(histogram: Histogram) -> int:
    """Return the number of durations."""
    return sum(histogram.values())


def quantile(histogram: Histogram, share: float) -> float | None:
    """Return the duration in seconds that a share of all does not exceed; None if there are none.

    It is the middle of its bucket.
    """
    rank, seen = max(share * count_of(histogram), 1.0), 0
    for bucket in sorted(map(int, histogram)):
        seen += histogram[str(bucket)]
        if seen >= rank:
            return bucket_middle(str(bucket))
    return None
