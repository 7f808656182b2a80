"""Check of a whole round trip: publish, archive, read, and erase."""

from datetime import timedelta
from secrets import token_hex
from time import monotonic, sleep
from typing import Final

from events.conf import event_settings
from events.database import database_now
from events.doctor.checks import Check, Examination
from events.doctor.findings import Finding, error, ok, skipped
from events.erasure import delete_log, erase_log
from events.history import read_events
from events.models import ArchivedEvent, EventLog
from events.publisher import get_publisher
from events.streams.clients import get_redis, send_command
from events.streams.keys import StreamKeys

ARCHIVE_SECONDS: Final = 10.0
TOMBSTONE_TTL: Final = timedelta(hours=1)
_POLL_SECONDS: Final = 0.05
_ROUND_TRIP_SECONDS: Final = 30.0


def temporary_job_id() -> str:
    """Return the id of a job that no producer has."""
    return f"doctor-{token_hex(8)}"


def erase_temporary_log(job_id: str) -> None:
    """Delete and erase the log of a temporary job_id; its tombstones expire within two hours.

    Raises as `delete_log` and `erase_log`.
    """
    delete_log(job_id)
    erase_log(job_id)
    state = StreamKeys(event_settings.STREAM_PREFIX).pair(job_id)[1]
    send_command(get_redis(), ("PEXPIRE", state, int(TOMBSTONE_TTL.total_seconds() * 1000)))
    # That of the database expires another hour later.
    remaining = timedelta(seconds=event_settings.TOMBSTONE_TTL) - TOMBSTONE_TTL
    erased = EventLog.objects.filter(job_id=job_id, erased_at__isnull=False)
    erased.update(erased_at=database_now() - remaining)


def check_round_trip(examination: Examination) -> Finding:
    """An event is published, archived and read; its log is erased afterwards."""
    job_id = temporary_job_id()
    try:
        return _publish_and_read(job_id, is_running=examination.status.running)
    finally:
        erase_temporary_log(job_id)


def _publish_and_read(job_id: str, *, is_running: bool) -> Finding:
    start = monotonic()
    event_id = get_publisher().publish_event(job_id, {"event_type": "doctor"})
    if [event.id for event in read_events(job_id)] != [event_id]:
        return error("A published event is not in the log.")
    seen = f"Published and read in {(monotonic() - start) * 1000:.0f} ms"
    if not is_running:
        return skipped(f"{seen}; not archived, as process_events is not running.")
    while not ArchivedEvent.objects.filter(log__job_id=job_id, event_id=event_id).exists():
        if monotonic() > start + ARCHIVE_SECONDS:
            return error(f"{seen}, but not archived within {ARCHIVE_SECONDS:.0f} s.")
        sleep(_POLL_SECONDS)
    if [event.id for event in read_events(job_id)] != [event_id]:
        return error("An archived event is not in the log, or twice.")
    return ok(f"{seen}, archived after {monotonic() - start:.1f} s, then erased.")


CHECKS: Final = (
    Check(
        "round-trip",
        check_round_trip,
        "Run `manage.py process_events --status`; do all processes have the same REDIS_URL?",
        ("redis-writes", "redis-access", "database-writes"),
        seconds=_ROUND_TRIP_SECONDS,
    ),
)
