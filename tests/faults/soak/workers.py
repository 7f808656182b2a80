"""Main functions of the processes of the soak test, forked with Django loaded."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import django.db
import httpx
import websockets
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection, transaction

from events import outbox
from events.exceptions import CursorLost, EventsError, RedisUnavailable
from events.history import read_events
from events.live import follow
from events.live.messages import Reset
from events.models import ArchiveCheckpoint, ArchivedEvent, EventLog, LogGap
from events.processor import get_status
from events.publisher import get_publisher
from events.types import EVENTS_LOST, START, Cursor, Event
from jobs import services
from jobs.exceptions import JobError
from jobs.models import Job
from tests.faults.processes.forks import Lines
from tests.faults.soak.clients import TRANSPORTS, UnreadConnections
from tests.faults.soak.notes import PAUSE, Notes, read_notes

_RETRY_SECONDS = 0.1
_PAUSE_SECONDS = 0.1
_BURST_TRANSACTIONS, _MAX_BREAK_SECONDS = 20, 5.0
_LARGE_TEXT = "x" * 20_000


def is_stopped(lines: Lines) -> bool:
    with suppress(TimeoutError):
        lines.receive(0)
        return True
    return False


def wait_while_paused(notes: str) -> None:
    """Wait while the file exists that pauses all writers and publishers."""
    while Path(notes).with_name(PAUSE).exists():
        sleep(_PAUSE_SECONDS)


def prepare(lines: Lines, jobs: Sequence[str]) -> None:
    """Create the jobs and the session of a superuser."""
    for job in jobs:
        services.job_create(task_type="soak", job_id=job, title=f"created {job}")
    user = get_user_model().objects.create_superuser("demo", password="demo")
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    lines.send(session=session.session_key)


class Undo(Exception):
    """Rolls back a transaction."""


class Writer:
    """Commits transactions of one to six events, and rolls some back."""

    def __init__(self, name: str, notes: Notes, seed: int, jobs: Sequence[str], own: str) -> None:
        self.name, self.notes, self.jobs, self.own = name, notes, jobs, own
        self.random = random.Random(seed)
        self.count = 0

    def run_transaction(self) -> None:
        self.count += 1
        name = f"{self.name}-{self.count}"
        if self.random.random() < 0.3:
            self._note(name, self.own, self._service(name))
        else:
            job = self.random.choice(self.jobs)
            self._note(name, job, partial(self._publish, name, job))

    def _note(self, name: str, job: str, work: Callable[[], tuple[list[str], bool]] | None) -> None:
        if work is None:
            return
        self.notes.add(begin=name, job=job)
        try:
            events, committed = work()
        except (EventsError, JobError, django.db.Error) as error:
            self.notes.add(unknown=name, reason=f"{type(error).__name__}: {error}"[:200])
            connection.close()
            sleep(_RETRY_SECONDS)
        else:
            self.notes.add(**{"committed" if committed else "rolled_back": name, "events": events})

    def _service(self, name: str) -> Callable[[], tuple[list[str], bool]] | None:
        """Return the next step of the job that only this writer and its successors change."""
        try:
            status = Job.objects.values_list("status", flat=True).get(job_id=self.own)
        except django.db.Error:
            connection.close()
            sleep(_RETRY_SECONDS)
            return None
        event = f"{name}.0"
        steps: dict[str, Callable[[], Any]] = {
            "pending": lambda: services.job_start(job_id=self.own, c=event),
            "running": lambda: services.job_progress(
                job_id=self.own, progress=self.random.randrange(100), c=event
            ),
            "failed": lambda: self._retry(event),
        }
        if status == "running" and self.random.random() < 0.05:
            steps["running"] = lambda: services.job_fail(job_id=self.own, error="x", c=event)
        self.notes.add(will=name, events=[event])

        def work() -> tuple[list[str], bool]:
            steps[status]()
            return [event], True

        return work

    def _retry(self, event: str) -> None:
        """Publish an event before the retry, which accepts no data, in the same transaction."""
        with transaction.atomic():
            outbox.publish_event(self.own, {"event_type": "before_retry", "c": event})
            services.job_retry(job_id=self.own)

    def _publish(self, name: str, job: str) -> tuple[list[str], bool]:
        events = [f"{name}.{number}" for number in range(self.random.randint(1, 6))]
        undone = self.random.random() < 0.1
        self.notes.add(will=name, events=events)
        committed: list[bool] = []
        try:
            with transaction.atomic():
                transaction.on_commit(lambda: committed.append(True))
                for event in events:
                    outbox.publish_event(job, {"c": event})
                    self._undo_some(name, job)
                if undone:
                    raise Undo  # noqa: TRY301 - rolls back
        except Undo:
            return events, False
        if not committed:
            # If a rollback to a savepoint fails, Django silently rolls back the whole transaction.
            raise django.db.OperationalError("rolled back by Django")
        return events, True

    def _undo_some(self, name: str, job: str) -> None:
        if self.random.random() < 0.1:
            with suppress(Undo), transaction.atomic():
                outbox.publish_event(job, {"c": f"undone-{name}"})
                raise Undo


def write(lines: Lines, name: str, notes: str, seed: int, jobs: Sequence[str], own: str) -> None:
    """Run bursts of transactions until the parent sends a message."""
    writer = Writer(name, Notes(Path(notes)), seed, jobs, own)
    while not is_stopped(lines):
        wait_while_paused(notes)
        writer.run_transaction()
        if writer.random.random() < 1 / _BURST_TRANSACTIONS:
            sleep(writer.random.uniform(0, _MAX_BREAK_SECONDS))


def publish(lines: Lines, name: str, notes: str, seed: int, jobs: Sequence[str]) -> None:
    """Publish stream-first until the parent sends a message; retry a failed append once."""
    file, rng, count = Notes(Path(notes)), random.Random(seed), 0
    publisher = get_publisher()
    while not is_stopped(lines):
        wait_while_paused(notes)
        count += 1
        job, size = rng.choice(jobs), rng.choice([1, 1, 1, 5])
        events = [f"{name}-{count}.{number}" for number in range(size)]
        file.add(begin=name, job=job, events=events)
        text = rng.choice(["", "", "", "", _LARGE_TEXT])
        data = [{"c": event, "text": text} for event in events]
        call = partial(publisher.publish_events, job, data)
        for attempt in range(2):
            try:
                ids = call()
            except EventsError as error:
                file.add(failed=events, reason=type(error).__name__)
                if not isinstance(error, RedisUnavailable):
                    break
                call = partial(publisher.retry, error.pending)
                sleep(_RETRY_SECONDS * (attempt + 1))
            else:
                file.add(acknowledged=events, ids=ids, job=job)
                break
        sleep(_PAUSE_SECONDS)


# Readers. Each writes the events to its notes in the order in which it receives them.


def cursors(notes: Path) -> dict[str, str]:
    """Return the cursors that an earlier reader has written to the notes."""
    seen: dict[str, str] = {}
    if notes.exists():
        for note in read_notes(notes):
            if "id" in note or "reset" in note:
                seen[note["job"]] = note.get("id") or note["reset"]
    return seen


def note_event(notes: Notes, job: str, event_id: str, data: dict[str, Any], raw: str) -> None:
    notes.add(job=job, id=event_id, c=content(data, raw))


def content(data: dict[str, Any], raw: str) -> str:
    """Return the unique name of an event."""
    if "c" in data:
        return str(data["c"])
    if data.get("event_type") == "job_created":
        return str(data["title"])
    if data.get("event_type") == EVENTS_LOST:
        return f"{EVENTS_LOST} {data['after']} {data['count']}"
    return f"{data['event_type']} {data.get('attempt')}"


def follow_all(lines: Lines, notes: str, jobs: Sequence[str]) -> None:
    """Follow each job by `events.live.follow`."""
    asyncio.run(_read_until_stopped(lines, notes, jobs, _follow))


def subscribe_all(
    lines: Lines, notes: str, jobs: Sequence[str], url: str, session: str, transports: Sequence[str]
) -> None:
    """Subscribe to each job by one of the transports at a time, with repeated disconnects."""
    subscriber = partial(_subscribe, url=url, session=session, transports=transports)
    asyncio.run(_read_until_stopped(lines, notes, jobs, subscriber))


async def _read_until_stopped(lines: Lines, notes: str, jobs: Sequence[str], read: Any) -> None:
    file, seen = Notes(Path(notes)), cursors(Path(notes))
    tasks = [asyncio.create_task(_reconnect(read, file, job, seen.get(job, "0"))) for job in jobs]
    await asyncio.to_thread(lines.receive)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _reconnect(read: Any, notes: Notes, job: str, cursor: str) -> None:
    """Read a job repeatedly, each time from the last cursor."""
    while True:
        notes.add(connects=job)
        try:
            async with aclosing(read(job, cursor)) as events:
                async for position, data, raw in events:
                    cursor = position
                    if data is None:
                        notes.add(job=job, reset=cursor)
                    else:
                        note_event(notes, job, cursor, data, raw)
        except (
            EventsError, django.db.Error, httpx.HTTPError, OSError, TimeoutError,
            websockets.exceptions.WebSocketException,
        ) as error:  # fmt: skip
            notes.add(broken=job, reason=f"{type(error).__name__}: {error}"[:200])
            await asyncio.sleep(_RETRY_SECONDS)


# Id, data and text of an event, or for a reset its cursor and None.
Received = AsyncIterator[tuple[str, dict[str, Any] | None, str]]


async def _follow(job: str, cursor: str) -> Received:
    async for message in follow(job, after=Cursor.parse(cursor)):
        if isinstance(message, Event):
            yield message.id, message.data, message.raw.decode()
        elif isinstance(message, Reset):
            yield message.after, None, message.reason


async def _subscribe(
    job: str, cursor: str, *, url: str, session: str, transports: Sequence[str]
) -> Received:
    """Read over one connection for some seconds."""
    stop = monotonic() + random.uniform(2, 10)
    read = TRANSPORTS[random.choice(transports)]
    async with aclosing(read(job, cursor, url, session)) as messages:
        async for message in messages:
            if "id" in message:
                yield message["id"], message["data"], json.dumps(message)
            elif "after" in message:
                yield message["after"], None, json.dumps(message)
            if monotonic() > stop:
                return


def never_read(lines: Lines, notes: str, jobs: Sequence[str], url: str, session: str) -> None:
    """Keep connections open that never read."""
    connections = UnreadConnections(Notes(Path(notes)), jobs, url, session)
    while not is_stopped(lines):
        connections.replace_ended()


def read_all(lines: Lines, notes: str, jobs: Sequence[str]) -> None:
    """Read pages of history of random sizes, from cursor to cursor."""
    file, seen, rng = Notes(Path(notes)), cursors(Path(notes)), random.Random(0)
    while not is_stopped(lines):
        for job in jobs:
            after, limit = seen.get(job, START), rng.randint(1, 200)
            try:
                page = read_events(job, after=after, limit=limit, strict=True)
            except CursorLost as error:
                file.add(job=job, reset=error.after)
                seen[job] = error.after
                continue
            except (EventsError, django.db.Error) as error:
                file.add(broken=job, reason=f"{type(error).__name__}: {error}"[:200])
                connection.close()
                sleep(_RETRY_SECONDS)
                continue
            for event in page:
                note_event(file, job, event.id, event.data, event.raw.decode())
                seen[job] = event.id
        sleep(0.3)


# After the faults


def is_idle(lines: Lines) -> None:
    """Send the number of events that are pending in the outbox or not archived, and of gaps."""
    status = get_status()
    pending = (status.outbox.depth or 0) + (status.archive.behind or 0)
    pending += LogGap.objects.filter(reported=False).count()
    lines.send(pending=-1 if status.archive.error else pending)


def send_positions(lines: Lines) -> None:
    """Send the archive checkpoint of each log."""
    positions = ArchiveCheckpoint.objects.values_list("log__job_id", "position")
    lines.send(positions={job: str(position) for job, position in positions})


def write_logs(lines: Lines, path: str, jobs: Sequence[str]) -> None:
    """Write all events of each log and the rows of the outbox to files."""
    with Path(path).open("w") as file:
        for job in jobs:
            for event in pages(job):
                line = [job, event.id, content(event.data, ""), event.producer]
                file.write(json.dumps(line) + "\n")
    rows = ArchivedEvent.objects.exclude(sequence=None).order_by("log_id", "sequence")
    with Path(f"{path}.outbox").open("w") as file:
        for job, number, data in rows.values_list("log__job_id", "sequence", "data"):
            file.write(json.dumps([job, number, content(json.loads(data), "")]) + "\n")
    sequences = dict(EventLog.objects.values_list("job_id", "sequence"))
    lines.send(sequences=sequences)


def pages(job: str, limit: int = 997) -> Sequence[Event]:
    events: list[Event] = []
    while True:
        page = read_events(job, after=events[-1].id if events else None, limit=limit)
        events += page
        if len(page) < limit:
            return events
