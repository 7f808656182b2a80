"""One soak from beginning to end."""

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

Tell = Callable[[str], None]
_DRAIN_SECONDS = 90.0
_READ_SECONDS = 40.0
_LONGEST = 540.0


@dataclass(frozen=True)
class Plan:
    """How much of what; no two faults are more than `spacing` seconds apart."""

    seed: int
    events: int
    faults: int
    database: str
    spacing: float
    keep: bool = False


@dataclass
class Outcome:
    """What came of it."""

    plan: Plan
    result: Result
    faults: Counter[str]
    seconds: float
    writing: float


def soak(plan: Plan, *, tell: Tell) -> Outcome:
    """Run it; what is wrong is in the counts. Raises when the log never gets idle."""
    start = monotonic()
    directory = Path(tempfile.mkdtemp(prefix="jk"))
    directory.chmod(0o755)
    stage = _stage(plan, directory)
    try:
        stage.world.start()
        stage.start()
        return _run(plan, stage, start, tell)
    finally:
        stage.stop()
        if plan.keep:
            tell(f"notes and logs are in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)


def _stage(plan: Plan, directory: Path) -> Stage:
    inside = directory / "database"
    inside.mkdir()
    database = Sqlite(inside) if plan.database == "sqlite" else Postgres(inside)
    # The append-only file is never rewritten, so that a copy of it is a snapshot.
    options = {"auto-aof-rewrite-percentage": "0"}
    world = World(directory, database, WORKERS, **options)
    return Stage(world, directory, plan.seed)


def _run(plan: Plan, stage: Stage, start: float, tell: Tell) -> Outcome:
    faults = Faults(stage, random.Random(plan.seed))
    began = monotonic()
    for number, kind in enumerate(faults.plan(plan.faults), 1):
        # Faults are spread over what is committed; where little is, time goes on all the same.
        _wait_until_committed(stage, plan.events * number // (plan.faults + 1), plan.spacing)
        faults.do(kind)
        stage.check()
        if number % 20 == 0:
            tell(f"{number} faults, {stage.tally.committed} events, {monotonic() - start:.0f} s")
    _wait_until_committed(stage, plan.events, start + _LONGEST - monotonic())
    writing = monotonic() - began
    stage.stop_writing()
    stage.wait_until_idle(_DRAIN_SECONDS)
    path, sequences = stage.tell_logs()
    _wait_for_readers(stage, path)
    stage.stop_reading()
    result = compare(stage.directory, path, sequences, faults.losses)
    return Outcome(plan, result, Counter(faults.done), monotonic() - start, writing)


def _wait_until_committed(stage: Stage, events: int, seconds: float) -> None:
    deadline = monotonic() + seconds
    while stage.tally.read() < events and monotonic() < deadline:
        sleep(0.02)


def _wait_for_readers(stage: Stage, path: Path) -> None:
    """Until every reader has the log, or too long."""
    log, deadline = logs(path), monotonic() + _READ_SECONDS
    while monotonic() < deadline:
        received = readers(stage.directory, log).values()
        if not any(reader.counts.total for reader in received):
            return
        sleep(1.0)


def report(outcome: Outcome) -> Iterator[str]:
    """The counts, as lines."""
    result, plan = outcome.result, outcome.plan
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(outcome.faults.items()))
    yield f"faults: {sum(outcome.faults.values())} ({kinds})"
    told = result.transactions
    yield (
        f"transactions: {told['committed']} committed, {told['rolled_back']} rolled back,"
        f" {told['unknown']} unknown to their writers, of which {result.resolved} are there"
    )
    log = result.log
    yield (
        f"committed {result.committed}, in the log {result.logged}, lost {log.lost},"
        f" twice {log.twice}, out of order {log.out_of_order},"
        f" not as the database {log.not_as_the_database}, from nowhere {log.from_nowhere}"
    )
    yield (
        f"stream-first: {result.acknowledged} acknowledged, of which Redis lost"
        f" {result.gone_with_redis} before they were archived"
    )
    for name, received in result.readers.items():
        yield _line_of_reader(name, received)
    for example in [*log.examples, *_examples(result)][:20]:
        yield f"  {example}"
    yield (
        f"seed {plan.seed}, {plan.database}: {outcome.seconds:.0f} s"
        f" ({result.committed / outcome.writing:.0f} committed events/s)"
    )


def _line_of_reader(name: str, received: Received) -> str:
    counts = received.counts
    return (
        f"{name} reader: {received.events} events in {received.connections} connections and"
        f" {received.resets} resets; lost {counts.lost}, twice {counts.twice},"
        f" out of order {counts.out_of_order}, from nowhere {counts.from_nowhere}"
    )


def _examples(result: Result) -> Iterator[str]:
    for name, received in result.readers.items():
        yield from (f"{name} reader: {example}" for example in received.counts.examples)
