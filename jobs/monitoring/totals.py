"""Sums of samples since midnight UTC, which Prometheus reads as counters.

They restart at midnight, as the counters of a process do when it starts. A sample is added once the
sampler does not compute it again, six minutes after its minute: a sum never decreases, also if jobs
are deleted. All processes add the same numbers in the same order, so that their sums are equal.
"""

from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, Final

from events.database import aware_time
from jobs.models import MonitorCheckpoint
from jobs.monitoring import figures
from jobs.monitoring.sampler import CHECKPOINT, LATE
from jobs.monitoring.samples import MINUTE_SECONDS, samples_of

_MINUTE: Final = timedelta(seconds=MINUTE_SECONDS)
_HOUR_SECONDS: Final = 3600
_KNOWN_LABELS_AGE: Final = timedelta(days=7)
# The value of a label before its first sample: Prometheus sees an increase from 0 only if it has
# read the 0.
_ZEROS: Final[Mapping[str, Any]] = {
    figures.JOBS_CREATED: 0,
    figures.ATTEMPTS_ENDED: dict.fromkeys(map(str, figures.ENDED), 0),
    figures.FAILURES: 0,
    figures.TOKENS: {"input": 0, "output": 0},
    figures.COST: 0,
    **{name: {} for name in figures.HISTOGRAMS},
}
_UNLABELLED: Final = (figures.EVENTS_APPENDED, figures.EVENTS_ARCHIVED)


class SampleTotals:
    """The sums since midnight; each call adds the samples of later minutes."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._start = self._end = datetime.min.replace(tzinfo=UTC)
        self._sums: dict[str, Any] = {}

    def read(self) -> Mapping[str, Any]:
        """Return the sums by figure, for reading only; empty without samples."""
        checkpoint = MonitorCheckpoint.objects.filter(name=CHECKPOINT).first()
        if checkpoint is None:
            return {}
        end = aware_time(checkpoint.at).astimezone(UTC) - LATE
        # The last minute of a day belongs to it.
        start = (end - _MINUTE).replace(hour=0, minute=0, second=0, microsecond=0)
        with self._lock:
            if start != self._start or end < self._end:  # another day, or a clock turned back
                self._sums, self._start, self._end = _zeros(start), start, start
            if end > self._end:
                sums = deepcopy(self._sums)  # another thread may read them
                _add_samples(sums, self._end, end)
                self._sums, self._end = sums, end
            return self._sums


sample_totals: Final = SampleTotals()


def _zeros(start: datetime) -> dict[str, Any]:
    """Return sums of 0 with the labels of the week before."""
    sums: dict[str, Any] = dict.fromkeys(_UNLABELLED, 0)
    sums |= {name: {} for name in _ZEROS} | {figures.FAILURES: {figures.ERROR: 0}}
    hours = samples_of(_HOUR_SECONDS, start - _KNOWN_LABELS_AGE, start)
    rows = hours.filter(name__in=_ZEROS)
    for name, value in rows.order_by("at", "name").values_list("name", "value"):
        for label in sorted(value):
            _label_of(name, sums[name], label)
    return sums


def _add_samples(sums: dict[str, Any], start: datetime, end: datetime) -> None:
    rows = samples_of(MINUTE_SECONDS, start, end).filter(name__in=list(sums))
    for name, value in rows.order_by("at", "name").values_list("name", "value"):
        if name in _UNLABELLED:
            sums[name] += value
        else:
            _add(name, sums[name], value)


def _add(name: str, total: dict[str, Any], value: Mapping[str, Any]) -> None:
    for label, each in sorted(value.items()):
        known = _label_of(name, total, label)
        if isinstance(each, Mapping):
            for key, number in each.items():
                total[known][key] = total[known].get(key, 0) + number
        else:
            total[known] += each


def _label_of(name: str, total: dict[str, Any], label: str) -> str:
    """Return a label that is in the sums, or OTHER if there are too many."""
    if label not in total:
        label = label if len(total) < figures.MAX_LABELS else figures.OTHER
        total.setdefault(label, deepcopy(_ZEROS[name]))
    return label
