"""Compare committed events, the log and the events that readers received."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from events.types import EVENTS_LOST, START, Cursor
from tests.faults.soak.faults import Loss
from tests.faults.soak.notes import read_notes


@dataclass
class Transaction:
    """A transaction of a writer; `outcome` is committed, rolled_back, or unknown."""

    name: str
    job: str
    begin: float
    events: list[str] = field(default_factory=list)
    outcome: str = "unknown"
    end: float = float("inf")


@dataclass
class Publication:
    """A stream-first call; `acknowledged` is the time at which it returned."""

    job: str
    events: list[str]
    begin: float
    acknowledged: float | None = None
    ids: list[Cursor] = field(default_factory=list)


@dataclass(frozen=True)
class Logged:
    """An event of the final log."""

    id: Cursor
    name: str
    producer: str

    @property
    def transactional(self) -> bool:
        return self.producer.startswith("outbox:")


@dataclass
class Counts:
    """Defects; each count must be 0."""

    lost: int = 0
    duplicates: int = 0
    out_of_order: int = 0
    differs_from_outbox: int = 0
    unexpected: int = 0
    unreported: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, kind: str, names: Sequence[Any], where: str) -> None:
        setattr(self, kind, getattr(self, kind) + len(names))
        if names:
            self.examples.append(f"{where}: {kind}: {list(names)[:5]}")

    @property
    def total(self) -> int:
        return (
            self.lost + self.duplicates + self.out_of_order + self.differs_from_outbox
            + self.unexpected + self.unreported
        )  # fmt: skip


@dataclass
class Result:
    """All counts of a soak test."""

    committed: int = 0
    transactions: Counter[str] = field(default_factory=Counter)
    resolved: int = 0
    logged: int = 0
    acknowledged: int = 0
    lost_by_redis: int = 0
    log: Counts = field(default_factory=Counts)
    readers: dict[str, "Received"] = field(default_factory=dict)

    @property
    def defects(self) -> int:
        return self.log.total + sum(reader.counts.total for reader in self.readers.values())


@dataclass
class Received:
    """Events that a reader received. A reset discards the events after its cursor.

    `counts` compares the rest with history: `lost` events are only in the log, `unexpected` ones
    were only received, `duplicates` were received duplicates between two resets.
    """

    events: int = 0
    connections: int = 0
    resets: int = 0
    counts: Counts = field(default_factory=Counts)


def transactions(paths: Sequence[Path]) -> dict[str, Transaction]:
    found: dict[str, Transaction] = {}
    for note in notes_of(paths):
        if "will" in note:
            found.setdefault(note["will"], Transaction(note["will"], "", note["at"]))
            found[note["will"]].events = note["events"]
        if "begin" in note:
            found.setdefault(note["begin"], Transaction(note["begin"], "", note["at"]))
            found[note["begin"]].job = note["job"]
        for outcome in ("committed", "rolled_back"):
            if outcome in note:
                known = found[note[outcome]]
                known.outcome, known.end, known.events = outcome, note["at"], note["events"]
    return found


def publications(paths: Sequence[Path]) -> Iterator[Publication]:
    for path in paths:
        last: Publication | None = None
        for note in read_notes(path):
            if "begin" in note:
                if last:
                    yield last
                last = Publication(note["job"], note["events"], note["at"])
            elif "acknowledged" in note and last:
                last.acknowledged = note["at"]
                last.ids = [Cursor.parse(event_id) for event_id in note["ids"]]
        if last:
            yield last


def notes_of(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        yield from read_notes(path)


def logs(path: Path) -> dict[str, list[Logged]]:
    found: dict[str, list[Logged]] = defaultdict(list)
    for line in path.read_text().splitlines():
        job, event_id, name, producer = json.loads(line)
        found[job].append(Logged(Cursor.parse(event_id), name, producer))
    return found


def outbox_rows(path: Path) -> dict[str, list[tuple[int, str]]]:
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for line in Path(f"{path}.outbox").read_text().splitlines():
        job, number, name = json.loads(line)
        found[job].append((number, name))
    return found


def compare(
    directory: Path, path: Path, sequences: dict[str, int], losses: Sequence[Loss]
) -> Result:
    """Compare everything; the guarantees are listed in `tests.faults.soak`."""
    result = Result()
    log, rows = logs(path), outbox_rows(path)
    written = transactions(sorted(directory.glob("writer-*.notes")))
    published = list(publications(sorted(directory.glob("publisher-*.notes"))))
    result.logged = sum(map(len, log.values()))
    _compare_commits(result, log, rows, written)
    _compare_rows(result, log, rows, sequences)
    _compare_publications(result, log, published, losses)
    _compare_whole(result, log, written, published)
    result.readers = readers(directory, log)
    return result


def readers(directory: Path, log: dict[str, list[Logged]]) -> dict[str, Received]:
    """Compare each reader with the log."""
    return {
        notes.stem.removeprefix("reader-"): received_by(notes, log)
        for notes in sorted(directory.glob("reader-*.notes"))
    }


def _names(log: Sequence[Logged]) -> set[str]:
    return {event.name for event in log}


def _compare_commits(
    result: Result,
    log: dict[str, list[Logged]],
    rows: dict[str, list[tuple[int, str]]],
    written: dict[str, Transaction],
) -> None:
    """Committed events are in the log, rolled back ones are not, unknown ones all or none."""
    in_log = {job: _names(events) for job, events in log.items()}
    in_rows = {job: {name for _, name in numbered} for job, numbered in rows.items()}
    for each in written.values():
        outcome, present = each.outcome, [e for e in each.events if e in in_log.get(each.job, ())]
        result.transactions[outcome] += 1
        if outcome == "unknown":
            held = [e for e in each.events if e in in_rows.get(each.job, ())]
            if len(held) not in (0, len(each.events)):
                result.log.add("differs_from_outbox", held, f"half of {each.name}")
            outcome = "committed" if held else "rolled_back"
            result.resolved += bool(held)
        if outcome == "committed":
            result.committed += len(each.events)
            result.log.add("lost", sorted(set(each.events) - set(present)), each.job)
        else:
            result.log.add("unexpected", present, f"rolled back, {each.job}")
    for job, events in log.items():
        _compare_times(result, job, events, written)


def _compare_times(
    result: Result, job: str, events: list[Logged], written: dict[str, Transaction]
) -> None:
    """Transactions that ended before another one began precede it in the log."""
    ours = [written.get(e.name.rpartition(".")[0]) for e in events if e.transactional]
    earliest_end = float("inf")
    defects = []
    for each in reversed([transaction for transaction in ours if transaction]):
        if each.begin > earliest_end:
            defects.append(each.name)
        earliest_end = min(earliest_end, each.end)
    result.log.add("out_of_order", defects, f"by the clock, {job}")


def _compare_rows(
    result: Result,
    log: dict[str, list[Logged]],
    rows: dict[str, list[tuple[int, str]]],
    sequences: dict[str, int],
) -> None:
    """The rows of the outbox are numbered without a gap, and the log has the same order."""
    for job, numbered in rows.items():
        numbers = [number for number, _ in numbered]
        missing = set(range(1, sequences[job] + 1)) - set(numbers)
        result.log.add("differs_from_outbox", sorted(missing), f"numbers of {job}")
        in_order = [event.name for event in log[job] if event.transactional]
        if in_order != [name for _, name in numbered]:
            differ = [a for a, (_, b) in zip(in_order, numbered, strict=False) if a != b]
            result.log.add("out_of_order", differ or [in_order[-1:]], f"of {job}")


def _compare_publications(
    result: Result,
    log: dict[str, list[Logged]],
    published: Sequence[Publication],
    losses: Sequence[Loss],
) -> None:
    """Acknowledged events are in the log, unless Redis lost them."""
    in_log = {job: _names(events) for job, events in log.items()}
    for each in published:
        if each.acknowledged is None:
            continue
        result.acknowledged += len(each.events)
        pairs = zip(each.events, each.ids, strict=True)
        missing = [pair for pair in pairs if pair[0] not in in_log.get(each.job, ())]
        lost = [
            event
            for event, event_id in missing
            if not any(_explains(loss, each, event_id) for loss in losses)
        ]
        result.lost_by_redis += len(missing) - len(lost)
        unreported = [
            f"{event} {event_id}"
            for event, event_id in missing
            if event not in lost and not _is_reported(log.get(each.job, ()), event_id)
        ]
        result.log.add("unreported", unreported, f"published to {each.job}")
        result.log.add("lost", lost, f"published to {each.job} at {each.acknowledged:.1f}")


def _is_reported(log: Sequence[Logged], event_id: Cursor) -> bool:
    """Return whether an event of the log reports the gap in which the event was."""
    for event in log:
        if event.name.startswith(f"{EVENTS_LOST} "):
            after = Cursor.parse(event.name.split()[1])
            following = next((each.id for each in log if each.id > after), event.id)
            if after < event_id < following:
                return True
    return False


def _explains(loss: Loss, published: Publication, event_id: Cursor) -> bool:
    """Return whether the loss may include the event: newer than the snapshot, not archived."""
    acknowledged = published.acknowledged or 0.0
    affects_job = loss.job in (None, published.job)
    in_lost_time = loss.since < acknowledged and published.begin < loss.until
    return affects_job and in_lost_time and event_id > loss.archived.get(published.job, START)


def _compare_whole(
    result: Result,
    log: dict[str, list[Logged]],
    written: dict[str, Transaction],
    published: Sequence[Publication],
) -> None:
    """Each log has no duplicate, no event out of order, and no unexpected event."""
    known = {event for each in written.values() for event in each.events}
    known |= {event for each in published for event in each.events}
    for job, events in log.items():
        counted = Counter(event.name for event in events)
        result.log.add("duplicates", [name for name, count in counted.items() if count > 1], job)
        result.log.add("out_of_order", _backwards([event.id for event in events]), f"ids of {job}")
        unknown = [name for name in counted if name not in known and "." in name]
        result.log.add("unexpected", unknown, job)


def _backwards(ids: Sequence[Cursor]) -> list[str]:
    return [str(second) for first, second in pairwise(ids) if second <= first]


def received_by(notes: Path, log: dict[str, list[Logged]]) -> Received:
    """Compare the events that a reader received since its last reset with the logs."""
    received = Received()
    events: dict[str, list[tuple[Cursor, str]]] = defaultdict(list)
    for note in read_notes(notes):
        if "connects" in note:
            received.connections += 1
        elif "id" in note:
            _add_received(received.counts, events[note["job"]], note)
        elif "reset" in note:
            after, job = Cursor.parse(note["reset"]), note["job"]
            events[job] = [event for event in events[job] if event[0] <= after]
            received.resets += 1
    for job, logged in log.items():
        received.events += len(events[job])
        _compare_received(received.counts, job, events[job], logged)
    return received


def _add_received(counts: Counts, events: list[tuple[Cursor, str]], note: dict[str, Any]) -> None:
    """Add a received event; ids increase between two resets."""
    event_id = Cursor.parse(note["id"])
    if events and event_id <= events[-1][0]:
        kind = "duplicates" if (event_id, note["c"]) in events else "out_of_order"
        counts.add(kind, [f"{note['id']} after {events[-1][0]}"], note["job"])
    events.append((event_id, note["c"]))


def _compare_received(
    counts: Counts, job: str, received: list[tuple[Cursor, str]], log: list[Logged]
) -> None:
    """Compare ids, order and content."""
    expected = [(event.id, event.name) for event in log]
    if received == expected:
        return
    counts.add("lost", [name for event_id, name in set(expected) - set(received)], job)
    repeated = {name for name, count in Counter(n for _, n in received).items() if count > 1}
    extra = [name for _, name in set(received) - set(expected)]
    counts.add("duplicates", [name for name in extra if name in repeated], job)
    counts.add("unexpected", [name for name in extra if name not in repeated], job)
    if set(received) == set(expected):
        counts.add("out_of_order", [received[-1][1]], job)
