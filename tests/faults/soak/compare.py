"""What was committed, what the log holds, what readers saw: compared event by event."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from events.types import START, Cursor
from tests.faults.soak.faults import Loss
from tests.faults.soak.notes import read_notes


@dataclass
class Transaction:
    """A writer's transaction; `outcome` is committed, rolled_back, or unknown if it was killed."""

    name: str
    job: str
    begin: float
    events: list[str] = field(default_factory=list)
    outcome: str = "unknown"
    end: float = float("inf")


@dataclass
class Publication:
    """A stream-first call; `acknowledged` is when it returned."""

    job: str
    events: list[str]
    begin: float
    acknowledged: float | None = None
    ids: list[Cursor] = field(default_factory=list)


@dataclass(frozen=True)
class Logged:
    """An event as the log has it in the end."""

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
    twice: int = 0
    out_of_order: int = 0
    not_as_the_database: int = 0
    from_nowhere: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, what: str, names: Sequence[Any], where: str) -> None:
        setattr(self, what, getattr(self, what) + len(names))
        if names:
            self.examples.append(f"{where}: {what}: {list(names)[:5]}")

    @property
    def total(self) -> int:
        return (
            self.lost + self.twice + self.out_of_order + self.not_as_the_database
            + self.from_nowhere
        )  # fmt: skip


@dataclass
class Result:
    """All the counts of a soak."""

    committed: int = 0
    transactions: Counter[str] = field(default_factory=Counter)
    resolved: int = 0
    logged: int = 0
    acknowledged: int = 0
    gone_with_redis: int = 0
    log: Counts = field(default_factory=Counts)
    readers: dict[str, "Received"] = field(default_factory=dict)

    @property
    def wrong(self) -> int:
        return self.log.total + sum(reader.counts.total for reader in self.readers.values())


@dataclass
class Received:
    """What a reader received. After a reset, the events past its cursor are discarded.

    `counts` compares the rest with history: `lost` is in the log only, `from_nowhere` was received
    only, `twice` was received twice between two resets.
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
    """Compare everything; see `tests.faults.soak` for what is owed to whom."""
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
    """Compare every reader with the log."""
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
    """Committed events are in the log, rolled back ones are not; unknown ones all or none."""
    in_log = {job: _names(events) for job, events in log.items()}
    in_rows = {job: {name for _, name in numbered} for job, numbered in rows.items()}
    for each in written.values():
        outcome, there = each.outcome, [e for e in each.events if e in in_log.get(each.job, ())]
        result.transactions[outcome] += 1
        if outcome == "unknown":
            held = [e for e in each.events if e in in_rows.get(each.job, ())]
            if len(held) not in (0, len(each.events)):
                result.log.add("not_as_the_database", held, f"half of {each.name}")
            outcome = "committed" if held else "rolled_back"
            result.resolved += bool(held)
        if outcome == "committed":
            result.committed += len(each.events)
            result.log.add("lost", sorted(set(each.events) - set(there)), each.job)
        else:
            result.log.add("from_nowhere", there, f"rolled back, {each.job}")
    for job, events in log.items():
        _compare_times(result, job, events, written)


def _compare_times(
    result: Result, job: str, events: list[Logged], written: dict[str, Transaction]
) -> None:
    """What had ended before another began stands before it in the log."""
    ours = [written.get(e.name.rpartition(".")[0]) for e in events if e.transactional]
    earliest_end = float("inf")
    wrong = []
    for each in reversed([transaction for transaction in ours if transaction]):
        if each.begin > earliest_end:
            wrong.append(each.name)
        earliest_end = min(earliest_end, each.end)
    result.log.add("out_of_order", wrong, f"by the clock, {job}")


def _compare_rows(
    result: Result,
    log: dict[str, list[Logged]],
    rows: dict[str, list[tuple[int, str]]],
    sequences: dict[str, int],
) -> None:
    """The outbox's rows are numbered without a gap, and the log has them in their order."""
    for job, numbered in rows.items():
        numbers = [number for number, _ in numbered]
        missing = set(range(1, sequences[job] + 1)) - set(numbers)
        result.log.add("not_as_the_database", sorted(missing), f"numbers of {job}")
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
    """What was acknowledged is there, unless Redis lost it after that."""
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
        result.gone_with_redis += len(missing) - len(lost)
        result.log.add("lost", lost, f"published to {each.job} at {each.acknowledged:.1f}")


def _explains(loss: Loss, published: Publication, event_id: Cursor) -> bool:
    """Whether Redis may have lost it: it came after the snapshot, and was not archived yet."""
    acknowledged = published.acknowledged or 0.0
    concerned = loss.job in (None, published.job)
    there = loss.since < acknowledged and published.begin < loss.until
    return concerned and there and event_id > loss.archived.get(published.job, START)


def _compare_whole(
    result: Result,
    log: dict[str, list[Logged]],
    written: dict[str, Transaction],
    published: Sequence[Publication],
) -> None:
    """Each log has no duplicate, no event out of order, and no event that was not written."""
    known = {event for each in written.values() for event in each.events}
    known |= {event for each in published for event in each.events}
    for job, events in log.items():
        counted = Counter(event.name for event in events)
        result.log.add("twice", [name for name, count in counted.items() if count > 1], job)
        result.log.add("out_of_order", _backwards([event.id for event in events]), f"ids of {job}")
        strange = [name for name in counted if name not in known and "." in name]
        result.log.add("from_nowhere", strange, job)


def _backwards(ids: Sequence[Cursor]) -> list[str]:
    return [str(second) for first, second in pairwise(ids) if second <= first]


def received_by(notes: Path, log: dict[str, list[Logged]]) -> Received:
    """Compare what a reader received of all jobs, since its last reset, with the log."""
    received = Received()
    events: dict[str, list[tuple[Cursor, str]]] = defaultdict(list)
    for note in read_notes(notes):
        if "connects" in note:
            received.connections += 1
        elif "id" in note:
            _take(received.counts, events[note["job"]], note)
        elif "reset" in note:
            after, job = Cursor.parse(note["reset"]), note["job"]
            events[job] = [event for event in events[job] if event[0] <= after]
            received.resets += 1
    for job, logged in log.items():
        received.events += len(events[job])
        _compare_received(received.counts, job, events[job], logged)
    return received


def _take(counts: Counts, events: list[tuple[Cursor, str]], note: dict[str, Any]) -> None:
    """Add a received event; between two resets, ids ascend."""
    event_id = Cursor.parse(note["id"])
    if events and event_id <= events[-1][0]:
        what = "twice" if (event_id, note["c"]) in events else "out_of_order"
        counts.add(what, [f"{note['id']} after {events[-1][0]}"], note["job"])
    events.append((event_id, note["c"]))


def _compare_received(
    counts: Counts, job: str, received: list[tuple[Cursor, str]], log: list[Logged]
) -> None:
    """The same ids, in the same order, with the same content."""
    expected = [(event.id, event.name) for event in log]
    if received == expected:
        return
    counts.add("lost", [name for event_id, name in set(expected) - set(received)], job)
    repeated = {name for name, count in Counter(n for _, n in received).items() if count > 1}
    extra = [name for _, name in set(received) - set(expected)]
    counts.add("twice", [name for name in extra if name in repeated], job)
    counts.add("from_nowhere", [name for name in extra if name not in repeated], job)
    if set(received) == set(expected):
        counts.add("out_of_order", [received[-1][1]], job)
