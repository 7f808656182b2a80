"""Sampler: the step of `process_events` that writes samples.

Every processor computes the figures of the minutes since the checkpoint; the one that advances it
first writes them, in one transaction. Rows may be late: those of an event archived later, or of a
transaction that took long. So the figures that come from rows are computed for some minutes again.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Final

from django.db.models import Q

from events.database import (
    atomic,
    aware_time,
    column_time,
    database_now,
    on_commit,
)
from events.types import Event
from jobs.conf import job_settings
from jobs.models import Job, MonitorCheckpoint, Sample
from jobs.monitoring.figures import EVENTS_ARCHIVED, FROM_ROWS, Values, merged
from jobs.monitoring.gauges import read_gauges
from jobs.monitoring.rows import figures_from_rows, floor_time, period_starts

MINUTE_SECONDS: Final = 60
# The length of longer periods, and of their parts.
_LONGER: Final = ((600, MINUTE_SECONDS), (3600, 600))
PERIODS: Final = (MINUTE_SECONDS, *(seconds for seconds, _ in _LONGER))
CHECKPOINT: Final = "samples"

_INTERVAL_SECONDS: Final = 5.0
_DELAY: Final = timedelta(seconds=2)
# A row whose transaction commits, or whose event is archived, later than this does not count.
LATE: Final = timedelta(minutes=5)
MAX_PAUSE: Final = timedelta(hours=24)
_MAX_STEP: Final = timedelta(minutes=10)
_MAX_CLOCK_SKEW: Final = timedelta(minutes=1)
_MAX_DELETED_ROWS: Final = 5000


class ArchivedEventCounter:
    """Counts the events that this process has archived; an `events.archive.Projection`."""

    def __init__(self) -> None:
        self.count = 0

    def lock(self, events: Mapping[str, Sequence[Event]]) -> Collection[str]:
        """Lock nothing."""
        return ()

    def apply(self, events: Mapping[str, Sequence[Event]]) -> None:
        """Count the events when the archiver's transaction commits."""
        on_commit(partial(self._add, sum(map(len, events.values()))))

    def completed_jobs(self, job_ids: Collection[str]) -> Collection[str]:
        """Return no jobs."""
        return ()

    def _add(self, events: int) -> None:
        self.count += events


class Sampler:
    """Step of `process_events`. Several processes may run one."""

    def __init__(self, archived: ArchivedEventCounter, *, single_pass: bool = False) -> None:
        self._archived = archived
        self._recorded = archived.count
        self._single_pass = single_pass
        self._due_at = float("-inf")

    def step(self) -> int:
        """Write the samples of at most 10 minutes; return the number of minutes.

        Raises django.db.Error. Unavailable Redis is not an error: its gauges are omitted.
        """
        if monotonic() < self._due_at and not self._single_pass:
            return 0
        now = aware_time(database_now())
        self._record_archived(floor_time(now, MINUTE_SECONDS))
        minutes = self._sample(floor_time(now - _DELAY, MINUTE_SECONDS))
        if not minutes:
            self._due_at = monotonic() + _INTERVAL_SECONDS
        return minutes

    def _record_archived(self, minute: datetime) -> None:
        """Add what this process has archived since the last call to the sample of a minute."""
        count = self._archived.count - self._recorded
        if not count:
            return
        fields = {"name": EVENTS_ARCHIVED, "seconds": MINUTE_SECONDS, "at": column_time(minute)}
        with atomic():
            Sample.objects.bulk_create([Sample(**fields, value=0)], ignore_conflicts=True)
            sample = Sample.objects.select_for_update().get(**fields)
            sample.value += count
            sample.save(update_fields=("value",))
        self._recorded += count

    def _sample(self, end: datetime) -> int:
        checkpoint = _checkpoint(end)
        if checkpoint > end + _MAX_CLOCK_SKEW:
            _turn_back(checkpoint, end)
            return 0
        since = max(checkpoint, end - MAX_PAUSE)
        until = min(since + _MAX_STEP, end)
        if until <= checkpoint:
            return 0
        start = since - LATE
        figures = figures_from_rows(start, until, MINUTE_SECONDS)
        if until == end:
            figures[end - timedelta(seconds=MINUTE_SECONDS)] |= read_gauges()
        with atomic():
            if not _advance(checkpoint, until):
                return 0  # another processor was faster
            _write(MINUTE_SECONDS, figures, FROM_ROWS)
            for seconds, part in _LONGER:
                _write(seconds, _longer_periods(start, until, seconds, part))
        _delete_old(end)
        return len(period_starts(since, until, MINUTE_SECONDS))


def _checkpoint(end: datetime) -> datetime:
    """Return until when samples are written; at first, the time of the first job."""
    found = MonitorCheckpoint.objects.filter(name=CHECKPOINT).first()
    if found is None:
        first = Job.objects.order_by("created_at", "id").values_list("created_at", flat=True)[:1]
        start = floor_time(min([*map(aware_time, first), end]), MINUTE_SECONDS)
        at = column_time(max(start, end - MAX_PAUSE))
        found, _ = MonitorCheckpoint.objects.get_or_create(name=CHECKPOINT, defaults={"at": at})
    return aware_time(found.at)


def _advance(checkpoint: datetime, until: datetime) -> bool:
    """Change the checkpoint, unless another processor has."""
    row = MonitorCheckpoint.objects.filter(name=CHECKPOINT, at=column_time(checkpoint))
    return bool(row.update(at=column_time(until)))


def _turn_back(checkpoint: datetime, end: datetime) -> None:
    """Continue at an earlier time: the clock was ahead. Delete the samples of the future."""
    with atomic():
        if not _advance(checkpoint, end):
            return
        for seconds in PERIODS:
            after = column_time(end - timedelta(seconds=seconds))
            Sample.objects.filter(seconds=seconds, at__gt=after).delete()


def _longer_periods(
    start: datetime, until: datetime, seconds: int, part: int
) -> dict[datetime, Values]:
    """Merge the samples of the periods that overlap an interval and are over at its end."""
    first, end = floor_time(start, seconds), floor_time(until, seconds)
    found: dict[datetime, dict[datetime, Values]] = {
        period: {} for period in period_starts(first, end, seconds)
    }
    for sample in _samples(part, first, end):
        at = aware_time(sample.at)
        values = found[floor_time(at, seconds)].setdefault(at, {})
        values[sample.name] = sample.value
    return {period: merged(parts.values()) for period, parts in found.items()}


def _samples(seconds: int, first: datetime, end: datetime) -> list[Sample]:
    interval = {"at__gte": column_time(first), "at__lt": column_time(end)}
    return list(Sample.objects.filter(seconds=seconds, **interval))


def _write(
    seconds: int, periods: Mapping[datetime, Values], removable: Collection[str] | None = None
) -> None:
    """Write the figures that have changed; delete those that are now 0, if they are `removable`."""
    if not periods:
        return
    end = max(periods) + timedelta(seconds=seconds)
    written = {
        (aware_time(each.at), each.name): each for each in _samples(seconds, min(periods), end)
    }
    figures = {
        (at, name): value for at, values in periods.items() for name, value in values.items()
    }
    changed = [
        Sample(name=name, at=column_time(at), seconds=seconds, value=value)
        for (at, name), value in figures.items()
        if (at, name) not in written or written[at, name].value != value
    ]
    obsolete = [
        each.pk
        for key, each in written.items()
        if key not in figures and (removable is None or each.name in removable)
    ]
    Sample.objects.bulk_create(
        changed,
        batch_size=500,
        update_conflicts=True,
        unique_fields=("seconds", "at", "name"),
        update_fields=("value",),
    )
    if obsolete:
        Sample.objects.filter(pk__in=obsolete).delete()


def _delete_old(now: datetime) -> None:
    """Delete the samples older than SAMPLE_DAYS, a limited number at once."""
    before = column_time(now - timedelta(days=job_settings.SAMPLE_DAYS))
    for seconds in PERIODS:
        old = Sample.objects.filter(Q(seconds=seconds, at__lt=before)).order_by("at")
        keys = list(old.values_list("pk", flat=True)[:_MAX_DELETED_ROWS])
        for start in range(0, len(keys), 500):
            Sample.objects.filter(pk__in=keys[start : start + 500]).delete()
