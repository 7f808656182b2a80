"""Run one soak test and report its result."""

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from tests.faults.processes.world import Postgres, Sqlite, World
from tests.faults.soak.compare import Received, Result, compare, logs, readers
from tests.faults.soak.faults import Faults
from tests.faults.soak.stage import WORKERS, Stage

Log = Callable[[str], None]
_DRAIN_SECONDS = 90.0
_READ_SECONDS = 40.0
_MAX_WRITE_SECONDS = 540.0


@dataclass(frozen=True)
class Plan:
    """Size of a soak test; faults are at most `spacing` seconds apart."""

    seed: int
    events: int
    faults: int
    database: str
    spacing: float
    keep: bool = False


@dataclass
class Outcome:
    """Result of a soak test."""

    plan: Plan
    result: Result
    faults: Counter[str]
    seconds: float
    writing: float


def soak(plan: Plan, *, log: Log) -> Outcome:
    """Run a soak test; the result counts the defects. Raise TimeoutError if it never gets idle."""
    start = monotonic()
    directory = Path(tempfile.mkdtemp(prefix="jk"))
    directory.chmod(0o755)
    stage = _stage(plan, directory)
    try:
        stage.world.start()
        stage.start()
        return _run(plan, stage, start, log)
    finally:
        stage.stop()
        if plan.keep:
            log(f"notes and logs are in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)


def _stage(plan: Plan, directory: Path) -> Stage:
    inside = directory / "database"
    inside.mkdir()
    database = Sqlite(inside) if plan.database == "sqlite" else Postgres(inside)
    # Redis must not rewrite the append-only file: a copy of it is the snapshot.
    options = {"auto-aof-rewrite-percentage": "0"}
    world = World(directory, database, WORKERS, **options)
    return Stage(world, directory, plan.seed)


def _run(plan: Plan, stage: Stage, start: float, log: Log) -> Outcome:
    faults = Faults(stage, random.Random(plan.seed))
    write_start = monotonic()
    for number, kind in enumerate(faults.plan(plan.faults), 1):
        # Spread the faults evenly over the committed events, at most `spacing` seconds apart.
        _wait_until_committed(stage, plan.events * number // (plan.faults + 1), plan.spacing)
        faults.do(kind)
        stage.check()
        if number % 20 == 0:
            log(f"{number} faults, {stage.tally.committed} events, {monotonic() - start:.0f} s")
    _wait_until_committed(stage, plan.events, start + _MAX_WRITE_SECONDS - monotonic())
    writing = monotonic() - write_start
    stage.stop_writing()
    stage.wait_until_idle(_DRAIN_SECONDS)
    path, sequences = stage.write_logs()
    _wait_for_readers(stage, path)
    stage.stop_reading()
    result = compare(stage.directory, path, sequences, faults.losses)
    return Outcome(plan, result, Counter(faults.done), monotonic() - start, writing)


def _wait_until_committed(stage: Stage, events: int, seconds: float) -> None:
    deadline = monotonic() + seconds
    while stage.tally.read() < events and monotonic() < deadline:
        sleep(0.02)


def _wait_for_readers(stage: Stage, path: Path) -> None:
    """Wait until each reader has the log, or until the timeout."""
    expected, deadline = logs(path), monotonic() + _READ_SECONDS
    while monotonic() < deadline:
        received = readers(stage.directory, expected).values()
        if not any(reader.counts.total for reader in received):
            return
        sleep(1.0)


def report(outcome: Outcome) -> Iterator[str]:
    """Yield the counts as lines."""
    result, plan = outcome.result, outcome.plan
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(outcome.faults.items()))
    yield f"faults: {sum(outcome.faults.values())} ({kinds})"
    counts = result.transactions
    yield (
        f"transactions: {counts['committed']} committed, {counts['rolled_back']} rolled back,"
        f" {counts['unknown']} unknown to their writers ({result.resolved} of these committed)"
    )
    log = result.log
    yield (
        f"committed {result.committed}, in the log {result.logged}, lost {log.lost},"
        f" duplicates {log.duplicates}, out of order {log.out_of_order},"
        f" different from the outbox {log.differs_from_outbox}, unexpected {log.unexpected}"
    )
    yield (
        f"stream-first: {result.acknowledged} acknowledged, {result.lost_by_redis} lost by Redis"
        f" before they were archived, {log.unreported} of them not reported"
    )
    for name, received in result.readers.items():
        yield _reader_line(name, received)
    for example in [*log.examples, *_examples(result)][:20]:
        yield f"  {example}"
    yield (
        f"seed {plan.seed}, {plan.database}: {outcome.seconds:.0f} s"
        f" ({result.committed / outcome.writing:.0f} committed events/s)"
    )


def _reader_line(name: str, received: Received) -> str:
    counts = received.counts
    return (
        f"{name} reader: {received.events} events in {received.connections} connections and"
        f" {received.resets} resets; lost {counts.lost}, duplicates {counts.duplicates},"
        f" out of order {counts.out_of_order}, unexpected {counts.unexpected}"
    )


def _examples(result: Result) -> Iterator[str]:
    for name, received in result.readers.items():
        yield from (f"{name} reader: {example}" for example in received.counts.examples)
