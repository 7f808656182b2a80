"""The table of samples: writes minutes, merges them into longer periods, and deletes old rows."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Final

from django.db.models import QuerySet

from events.database import aware_time, column_time
from jobs.conf import job_settings
from jobs.models import Sample
from jobs.monitoring.figures import FROM_ROWS, Values, merged
from jobs.monitoring.rows import floor_time, period_starts
from jobs.selectors import in_chunks

MINUTE_SECONDS: Final = 60
# The length of longer periods, and of their parts.
_LONGER: Final = ((600, MINUTE_SECONDS), (3600, 600))
PERIODS: Final = (MINUTE_SECONDS, *(seconds for seconds, _ in _LONGER))

_MAX_DELETED_ROWS: Final = 5000
_BATCH_ROWS: Final = 500


def write_samples(minutes: Mapping[datetime, Values], now: datetime) -> None:
    """Write the figures of minutes from rows, and merge the longer periods that are over."""
    start, until = min(minutes), max(minutes) + timedelta(seconds=MINUTE_SECONDS)
    _write(MINUTE_SECONDS, minutes, FROM_ROWS)
    for seconds, part in _LONGER:
        after = floor_time(until + timedelta(seconds=seconds - 1), seconds)
        end = min(after, floor_time(now, seconds))
        _write(seconds, _longer_periods(floor_time(start, seconds), end, seconds, part))


def _longer_periods(
    first: datetime, end: datetime, seconds: int, part: int
) -> dict[datetime, Values]:
    """Merge the samples of parts into the periods of an interval."""
    found: dict[datetime, dict[datetime, Values]] = {
        period: {} for period in period_starts(first, end, seconds)
    }
    for sample in samples_of(part, first, end):
        at = aware_time(sample.at)
        values = found[floor_time(at, seconds)].setdefault(at, {})
        values[sample.name] = sample.value
    return {period: merged(parts.values()) for period, parts in found.items()}


def samples_of(seconds: int, first: datetime, end: datetime) -> QuerySet[Sample]:
    """Return the samples of periods of a length that begin in an interval."""
    interval = {"at__gte": column_time(first), "at__lt": column_time(end)}
    return Sample.objects.filter(seconds=seconds, **interval)


def _write(
    seconds: int, periods: Mapping[datetime, Values], removable: Collection[str] | None = None
) -> None:
    """Write the figures that have changed; delete those that are now 0, if they are `removable`."""
    if not periods:
        return
    end = max(periods) + timedelta(seconds=seconds)
    written = {
        (aware_time(each.at), each.name): each for each in samples_of(seconds, min(periods), end)
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
        batch_size=_BATCH_ROWS,
        update_conflicts=True,
        unique_fields=("seconds", "at", "name"),
        update_fields=("value",),
    )
    if obsolete:
        Sample.objects.filter(pk__in=obsolete).delete()


def delete_old_samples(now: datetime) -> None:
    """Delete the samples older than SAMPLE_DAYS, a limited number at once."""
    before = column_time(now - timedelta(days=job_settings.SAMPLE_DAYS))
    for seconds in PERIODS:
        old = Sample.objects.filter(seconds=seconds, at__lt=before).order_by("at")
        keys = list(old.values_list("pk", flat=True)[:_MAX_DELETED_ROWS])
        for chunk in in_chunks(keys):
            Sample.objects.filter(pk__in=chunk).delete()
