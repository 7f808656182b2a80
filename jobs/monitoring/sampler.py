"""Sampler: the step of `process_events` that writes samples.

Every processor computes the figures of the minutes since the checkpoint; the one that advances it
first writes them, in one transaction. Rows may be late: those of an event archived later, or of a
transaction that took long. So the figures that come from rows are computed for some minutes again;
when the archive is no longer behind, for as long as it was.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from math import inf
from time import monotonic
from typing import Final

from django.db.models import F

from events.database import (
    atomic,
    aware_time,
    column_time,
    database_now,
    on_commit,
)
from events.types import Event
from jobs.models import Job, MonitorCheckpoint, Sample
from jobs.monitoring.figures import ARCHIVE_AGE, EVENTS_ARCHIVED
from jobs.monitoring.gauges import read_gauges
from jobs.monitoring.rows import figures_from_rows, floor_time, period_starts
from jobs.monitoring.samples import (
    MINUTE_SECONDS,
    PERIODS,
    delete_old_samples,
    write_samples,
)

CHECKPOINT: Final = "samples"
# From when minutes are computed again after the archive was behind.
LATE_CHECKPOINT: Final = "late samples"

_INTERVAL_SECONDS: Final = 5.0
_DELAY: Final = timedelta(seconds=2)
# A row whose transaction commits, or whose event is archived, later than this does not count.
LATE: Final = timedelta(minutes=5)
MAX_PAUSE: Final = timedelta(hours=24)
_MAX_STEP: Final = timedelta(minutes=10)
_MAX_CLOCK_SKEW: Final = timedelta(minutes=1)
_MINUTE: Final = timedelta(seconds=MINUTE_SECONDS)


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
        end = floor_time(now - _DELAY, MINUTE_SECONDS)
        minutes = self._sample(end) or _sample_again(end)
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
        figures = figures_from_rows(since - LATE, until, MINUTE_SECONDS)
        behind_since = None
        if until == end:
            gauges = read_gauges()
            figures[end - _MINUTE] |= gauges
            behind_since = _behind_since(end - _MINUTE, gauges.get(ARCHIVE_AGE))
        with atomic():
            if not _advance(checkpoint, until):
                return 0  # another processor was faster
            write_samples(figures, until)
            if behind_since is not None:
                _repeat_from(behind_since)
        delete_old_samples(end)
        return len(period_starts(since, until, MINUTE_SECONDS))


def _sample_again(end: datetime) -> int:
    """Compute minutes again that the archive was behind in; return how many."""
    found = MonitorCheckpoint.objects.filter(name=LATE_CHECKPOINT).first()
    if found is None:
        return 0
    since = max(aware_time(found.at), end - MAX_PAUSE)
    until = min(since + _MAX_STEP, end - LATE)
    row = MonitorCheckpoint.objects.filter(name=LATE_CHECKPOINT, at=found.at)
    if until <= since:
        row.delete()
        return 0
    figures = figures_from_rows(since, until, MINUTE_SECONDS)
    with atomic():
        # Locks the row: another processor may be writing the same longer periods.
        MonitorCheckpoint.objects.filter(name=CHECKPOINT).update(at=F("at"))
        if not row.update(at=column_time(until)):
            return 0
        write_samples(figures, end)
    return len(figures)


def _behind_since(latest: datetime, age: float | None) -> datetime | None:
    """Return since when the archive was behind, or was not measured, until the latest minute.

    None if it still is, if it was not, or if the next samples make up for it.
    """
    if age is None or age > LATE.total_seconds():
        return None
    ages = _archive_ages(latest - _MINUTE, latest)
    if latest in ages or ages.get(latest - _MINUTE, inf) <= LATE.total_seconds():
        return None
    first = Sample.objects.filter(seconds=MINUTE_SECONDS).order_by("at").first()
    earliest = max(aware_time(first.at) if first else latest, latest - MAX_PAUSE)
    ages, since, at = _archive_ages(earliest, latest), latest, latest - _MINUTE
    while at >= earliest and ages.get(at, inf) > LATE.total_seconds():
        since = min(since, at - timedelta(seconds=ages.get(at, 0.0)))
        at -= _MINUTE
    since = max(floor_time(since, MINUTE_SECONDS), earliest)
    return since if since < latest - LATE else None


def _archive_ages(first: datetime, latest: datetime) -> dict[datetime, float]:
    interval = {"at__gte": column_time(first), "at__lte": column_time(latest)}
    rows = Sample.objects.filter(seconds=MINUTE_SECONDS, name=ARCHIVE_AGE, **interval)
    return {aware_time(at): age for at, age in rows.values_list("at", "value")}


def _repeat_from(time: datetime) -> None:
    at, rows = column_time(time), MonitorCheckpoint.objects.filter(name=LATE_CHECKPOINT)
    if not rows.filter(at__lte=at).exists():
        MonitorCheckpoint.objects.update_or_create(name=LATE_CHECKPOINT, defaults={"at": at})


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
