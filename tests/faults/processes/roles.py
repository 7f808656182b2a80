"""Main functions of child processes; each runs in its own forked process."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import aclosing, suppress
from datetime import timedelta
from functools import partial
from time import monotonic, sleep
from typing import Any

import django.db
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from events import outbox
from events.archive import projections
from events.archive.archiver import Archiver
from events.exceptions import EventsError, RedisUnavailable
from events.history import read_events
from events.live import follow
from events.live.messages import KeepAlive, Live, Reset
from events.models import ArchiveCheckpoint, ArchivedEvent, EventLog
from events.outbox import relay, writer
from events.outbox.relay import Relay
from events.publisher import get_publisher
from events.streams import clients, retry
from events.streams.clients import get_redis
from events.types import Cursor, Event
from tests.faults.processes.forks import Lines
from tests.faults.processes.points import stop_at

JOB = "abc"
OTHER = "other"
TAIL = 10
Step = Mapping[str, Any]


class Undo(Exception):
    """Rolls back a transaction."""


def use_test_settings(tail: int = TAIL) -> None:
    """Relay without delay, retry quickly, and keep few stream entries."""
    relay.MIN_AGE = timedelta(0)
    retry.RETRY_DELAYS_SECONDS, clients.MAX_RETRIES = (0.02, 0.05, 0.0), 1
    settings.JOB_EVENTS.update(STREAM_TAIL=tail, REDIS_TIMEOUT=5, KEEP_ALIVE=0.03)


def _stop(lines: Lines, stops: Iterable[str]) -> None:
    for name in stops:
        stop_at(lines, name)


# Writers


def write(lines: Lines, steps: list[Step], stops: Iterable[str] = (), job: str = JOB) -> None:
    """Run steps such as {"commit": "t1"}; send `done` after each."""
    use_test_settings()
    _stop(lines, stops)
    for step in steps:
        kind, value = next(iter(step.items()))
        job = step.get("job", job)
        try:
            STEPS[kind](job, value)
        except (EventsError, django.db.Error) as error:
            lines.send(failed=value, reason=f"{type(error).__name__}: {error}")
        else:
            lines.send(done=value)


def _commit(job: str, name: str) -> None:
    with transaction.atomic():
        outbox.publish_event(job, {"c": name})


def _commit_several(job: str, names: list[str]) -> None:
    with transaction.atomic():
        for name in names:
            outbox.publish_event(job, {"c": name})


def _roll_back(job: str, name: str) -> None:
    with suppress(Undo), transaction.atomic():
        outbox.publish_event(job, {"c": name})
        raise Undo


def _roll_back_to_savepoint(job: str, names: list[str]) -> None:
    """Commit the first and the last event, but not the one between them."""
    first, undone, last = names
    with transaction.atomic():
        outbox.publish_event(job, {"c": first})
        with suppress(Undo), transaction.atomic():
            outbox.publish_event(job, {"c": undone})
            raise Undo
        outbox.publish_event(job, {"c": last})


def _commit_only(job: str, name: str) -> None:
    """Commit without the append, which is left to the relay."""
    append, writer._append = writer._append, lambda *_arguments: None
    try:
        _commit(job, name)
    finally:
        writer._append = append


def _publish(job: str, name: str) -> None:
    get_publisher().publish_event(job, {"c": name})


def _publish_many(job: str, names: list[str]) -> None:
    get_publisher().publish_events(job, [{"c": name} for name in names])


def _archive(_job: str, tail: int) -> None:
    """Archive without trimming to less than `tail` entries."""
    use_test_settings(tail)
    Archiver().step()


STEPS = {
    "archive": _archive,
    "commit": _commit,
    "commit_several": _commit_several,
    "roll_back": _roll_back,
    "savepoint": _roll_back_to_savepoint,
    "commit_only": _commit_only,
    "publish": _publish,
    "publish_many": _publish_many,
}


# Relay and archiver


def relay_once(lines: Lines, stops: Iterable[str] = (), rounds: int = 1) -> None:
    use_test_settings()
    _stop(lines, stops)
    step = Relay().step
    for _ in range(rounds):
        _step(lines, step, "appended")


def archive_once(
    lines: Lines, stops: Iterable[str] = (), rounds: int = 2, tail: int = TAIL
) -> None:
    """Run two rounds: maintenance runs when there is nothing to archive."""
    use_test_settings(tail)
    _stop(lines, stops)
    step = Archiver().step
    for _ in range(rounds):
        _step(lines, step, "archived")


def process_until_signalled(lines: Lines) -> None:
    """Run a relay and an archiver until a message arrives."""
    use_test_settings()
    steps = (Relay().step, Archiver().step)
    lines.send(working=True)
    while True:
        with suppress(TimeoutError):
            lines.receive(0)
            return
        for step in steps:
            _step(lines, step, "worked")


def _step(lines: Lines, step: Any, what: str) -> None:
    try:
        lines.send(**{what: step()})
    except (EventsError, django.db.Error) as error:
        lines.send(failed_step=f"{type(error).__name__}: {error}")
        connection.close()


def drain(lines: Lines) -> None:
    """Run a new relay and a new archiver until both are idle; send a dump of everything."""
    use_test_settings()
    run_until_idle()
    lines.send(dump=dump())


def run_until_idle(seconds: float = 30.0) -> None:
    deadline = monotonic() + seconds
    idle = 0
    while idle < 2:
        relay_, archiver = Relay(), Archiver()
        done = relay_.step() + archiver.step() + archiver.step()
        idle = 0 if done else idle + 1
        if monotonic() > deadline:
            raise TimeoutError("relay and archiver do not become idle")


def dump() -> dict[str, Any]:
    """Return the contents of archive, stream, history and subscriptions by job."""
    jobs = list(EventLog.objects.order_by("pk").values_list("job_id", flat=True))
    return {job: dump_job(job) for job in jobs}


def dump_job(job: str) -> dict[str, Any]:
    log = EventLog.objects.get(job_id=job)
    position = ArchiveCheckpoint.objects.get(log=log)
    rows = ArchivedEvent.objects.filter(log=log)
    archived = rows.exclude(event_id=None).order_by("event_id")
    stream = get_redis().xrange(f"job_events:{job}") if _is_stream(job) else []
    cursors = ["0-0", *_some([str(row.event_id) for row in archived])] if job == JOB else []
    return {
        "pending": rows.filter(event_id=None).count(),
        "archived": [_named(str(row.event_id), row.data, row.producer) for row in archived],
        "sequence": log.sequence,
        "position": str(position.position),
        "fault": position.error,
        "stream": [entry_id.decode() for entry_id, _ in stream],
        "log": [_of(event) for event in history(job)],
        "backwards": [_of(event) for event in history(job, order="desc")],
        "followed": dict(zip(cursors, asyncio.run(_follow_all(job, cursors)), strict=True)),
    }


def _is_stream(job: str) -> bool:
    return get_redis().type(f"job_events:{job}") == b"stream"


def _some(ids: list[str]) -> list[str]:
    """Return a few positions: one in the middle and the last two."""
    return sorted({*ids[len(ids) // 2 :][:1], *ids[-2:]}, key=Cursor.parse)


def _named(event_id: str, data: str, producer: str | None) -> list[Any]:
    return _of(Event(event_id, "", "", "", data.encode(), producer or ""))


def _of(event: Event) -> list[Any]:
    return [event.id, event.data.get("c", event.raw.decode()), event.producer, event.data.get("n")]


def history(job: str, order: Any = "asc", limit: int = 50) -> list[Event]:
    """Read a whole log in small pages."""
    events: list[Event] = []
    while True:
        bound = {"after" if order == "asc" else "before": events[-1].id if events else None}
        page = read_events(job, order=order, limit=limit, **bound)
        events += page
        if len(page) < limit:
            return events


async def _follow_all(job: str, cursors: list[str]) -> list[list[Any]]:
    return await asyncio.gather(*[_follow(job, cursor) for cursor in cursors])


async def _follow(job: str, cursor: str) -> list[Any]:
    """Return the events after a cursor, received until the subscriber is live and idle."""
    received, caught_up = [], False
    with suppress(TimeoutError):
        async with (
            asyncio.timeout(10),
            aclosing(follow(job, after=Cursor.parse(cursor))) as messages,
        ):
            async for message in messages:
                if isinstance(message, Event):
                    received.append(_of(message))
                caught_up = caught_up or isinstance(message, Live)
                if caught_up and isinstance(message, KeepAlive):
                    return received
    return [*received, ["", "never live", "", None]]


def subscribe(lines: Lines, cursor: str) -> None:
    """Run a slow subscriber, which receives the next event or reset when signalled."""
    use_test_settings()
    asyncio.run(_subscribe(lines, cursor))


async def _subscribe(lines: Lines, cursor: str) -> None:
    lines.send(started=True)
    async with aclosing(follow(JOB, after=Cursor.parse(cursor))) as messages:
        lines.receive()
        async for message in messages:
            if isinstance(message, Event):
                lines.send(received=message.data["c"])
                lines.receive()
            elif isinstance(message, Reset):
                lines.send(received=f"reset after {message.after}")
                lines.receive()


# Others


def hold_log(lines: Lines, job: str = JOB, *, new: bool = False) -> None:
    """Hold a transaction open until a message arrives."""
    use_test_settings()
    with transaction.atomic():
        outbox.publish_event(job, {"c": "held"})
        lines.send(held=True)
        lines.receive()
    lines.send(done="held")


def fault_of(lines: Lines, job: str) -> None:
    rows = ArchiveCheckpoint.objects.filter(log__job_id=job).values_list("error", flat=True)
    lines.send(fault=rows.first() or "")


def write_before_the_clock_is_rewound(lines: Lines, job: str = JOB) -> None:
    """Commit an event whose time in the outbox is an hour ahead."""
    _commit_only(job, "t1")
    ArchivedEvent.objects.update(written_at=timezone.now() + timedelta(hours=1))
    lines.send(done=True)


class FailingProjection:
    """A projection that raises for one job."""

    def __init__(self, job: str) -> None:
        self.job = job

    def lock(self, job_ids: Iterable[str]) -> list[str]:
        return []

    def apply(self, events: Mapping[str, Any]) -> None:
        if self.job in events:
            raise ValueError(f"cannot project {self.job}\x00")

    def completed_jobs(self, job_ids: Iterable[str]) -> list[str]:
        return []


def archive_with_failing_projection(lines: Lines, job: str, rounds: int = 3) -> None:
    projections.append(FailingProjection(job))
    archive_once(lines, rounds=rounds)


COUNTER = "CREATE TABLE faults_counter (n bigint)"


def create_counter(lines: Lines) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS faults_counter")
        cursor.execute(COUNTER)
        cursor.execute("INSERT INTO faults_counter VALUES (0)")
    lines.send(done=True)


def count_and_write(lines: Lines, writer: int, transactions: int, job: str = JOB) -> None:
    """Run transactions that increment a counter under the lock of the log.

    Each publishes two events; the second contains the value of the counter. Every tenth transaction
    is rolled back, and every third rolls back to a savepoint.
    """
    use_test_settings()
    lines.send(ready=True)
    lines.receive()
    for number in range(transactions):
        name = f"{writer}-{number}"
        with suppress(Undo):
            _count_once(job, name, number)
            lines.send(done=name)
        if number % 4 == writer % 4:
            _publish_with_retry(job, f"s-{name}")
            lines.send(published=f"s-{name}")


def _publish_with_retry(job: str, name: str) -> None:
    """Publish, and retry until the append is acknowledged."""
    publisher = get_publisher()
    call = partial(publisher.publish_event, job, {"c": name})
    while True:
        try:
            call()
        except RedisUnavailable as error:
            call = partial(publisher.retry, error.pending)
            sleep(0.02)
        else:
            return


def _count_once(job: str, name: str, number: int) -> None:
    with transaction.atomic():
        outbox.publish_event(job, {"c": f"{name}-a"})
        if number % 3 == 0:
            with suppress(Undo), transaction.atomic():
                outbox.publish_event(job, {"c": f"undone-{name}"})
                raise Undo
        with connection.cursor() as cursor:
            cursor.execute("UPDATE faults_counter SET n = n + 1")
            cursor.execute("SELECT n FROM faults_counter")
            (value,) = cursor.fetchone()
        sleep(0.001 * (number % 3))
        outbox.publish_event(job, {"c": f"{name}-b", "n": value})
        if number % 10 == 9:
            raise Undo


def dump_of(lines: Lines, job: str) -> None:
    """Send a dump of a job."""
    use_test_settings()
    lines.send(dump=dump_job(job))
