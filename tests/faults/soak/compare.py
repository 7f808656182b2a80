"""What was committed, what the log holds, what readers saw: compared event by event."""

import json
from bisect import bisect_left
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
    """What is wrong; each is to be 0."""

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
    readers: dict[str, "Seen"] = field(default_factory=dict)

    @property
    def wrong(self) -> int:
        return self.log.total + sum(reader.counts.total for reader in self.readers.values())


@dataclass
class Seen:
    """What a reader saw.

    `again` are transactional events that it saw a second time, under a new id, after it had
    connected anew; `gone` are stream-first events that it saw, and Redis lost. After a `reset`,
    what it saw beyond the cursor named there does not count.
    """

    events: int = 0
    again: int = 0
    gone: int = 0
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
    for notes in sorted(directory.glob("reader-*.notes")):
        name = notes.stem.removeprefix("reader-")
        result.readers[name] = seen_by(notes, log, connected=name == "connected")
    return result


def _names(log: Sequence[Logged]) -> set[str]:
    return {event.name for event in log}


def _compare_commits(
    result: Result,
    log: dict[str, list[Logged]],
    rows: dict[str, list[tuple[int, str]]],
    written: dict[str, Transaction],
) -> None:
    """Committed is in the log, rolled back is not; of what nobody knows, all or nothing."""
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
    """Each log has nothing twice, nothing out of order, and nothing that nobody wrote."""
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


def seen_by(notes: Path, log: dict[str, list[Logged]], *, connected: bool) -> Seen:
    """Compare what a reader saw of all jobs with what the log has in the end."""
    seen = Seen()
    given: dict[str, list[tuple[Cursor, str, int]]] = defaultdict(list)
    generation: Counter[str] = Counter()
    for note in read_notes(notes):
        if "connects" in note:
            generation[note["connects"]] += 1
            seen.connections += 1
        elif "id" in note:
            job = note["job"]
            given[job].append((Cursor.parse(note["id"]), note["c"], generation[job]))
        elif "reset" in note:
            after, job = Cursor.parse(note["reset"]), note["job"]
            given[job] = [before for before in given[job] if before[0] <= after]
            seen.resets += 1
    for job, events in log.items():
        _compare_seen(seen, job, given[job], events, connected=connected)
    return seen


def _compare_seen(
    seen: Seen,
    job: str,
    given: list[tuple[Cursor, str, int]],
    log: list[Logged],
    *,
    connected: bool,
) -> None:
    seen.events += len(given)
    counts, names = seen.counts, [name for _, name, _ in given]
    counts.add("lost", [event.name for event in log if event.name not in set(names)], job)
    counts.add("out_of_order", _backwards([event_id for event_id, _, _ in given]), job)
    in_log = {event.name: event for event in log}
    seen.gone += sum(name not in in_log for name in names)
    connections: dict[str, list[tuple[int, Cursor]]] = defaultdict(list)
    for event_id, name, connection in given:
        connections[name].append((connection, event_id))
    for name, times in connections.items():
        if len(times) == 1:
            continue
        within_one = len({connection for connection, _ in times}) < len(times)
        same_id = len({event_id for _, event_id in times}) < len(times)
        if (within_one and connected) or same_id:
            counts.add("twice", [name], job)
        else:
            seen.again += len(times) - 1
    _compare_order(counts, job, connections, [event for event in log if event.transactional])


def _compare_order(
    counts: Counts,
    job: str,
    connections: dict[str, list[tuple[int, Cursor]]],
    transactional: list[Logged],
) -> None:
    """Transactional events were seen first in the order of commits."""
    first = [connections[event.name][0][1] for event in transactional if event.name in connections]
    longest = _longest_increasing(first)
    if longest < len(first):
        counts.add("out_of_order", [f"{len(first) - longest} of {len(first)}"], f"commits of {job}")


def _longest_increasing(cursors: Sequence[Cursor]) -> int:
    """How many are in order, at most."""
    ends: list[Cursor] = []
    for cursor in cursors:
        place = bisect_left(ends, cursor)
        ends[place : place + 1] = [cursor]
    return len(ends)


def cursor_of_log(path: Path) -> dict[str, Cursor]:
    """The last id of each log."""
    return {job: events[-1].id for job, events in logs(path).items()}


def cursors_seen(notes: Path) -> dict[str, Cursor]:
    """The last id that a reader has seen of each log."""
    seen = {note["job"]: note["id"] for note in read_notes(notes) if "id" in note}
    return {job: Cursor.parse(event_id) for job, event_id in seen.items()}
