"""Run one soak test and report its result."""

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from tests.faults.processes.world import Postgres, Sqlite, World
from tests.faults.soak.compare import Received, Result, compare, logs, readers
from tests.faults.soak.faults import Faults
from tests.faults.soak.resources import MAX_DIFFERENCE, Checkpoint, differences, take_checkpoint
from tests.faults.soak.stage import ENVIRONMENT, WORKERS, Stage
from tests.support.clocks import LIBRARY, SkewedClock
from tests.support.disk import SmallDisk

Log = Callable[[str], None]
_DRAIN_SECONDS = 90.0
_READ_SECONDS = 60.0
_MAX_PAUSE_SECONDS = 8.0
_DISK_BYTES = 4 * 2**30  # uses only the memory of its files


@dataclass(frozen=True)
class Plan:
    """Duration of the faults, which are followed by checkpoints in equal intervals."""

    seed: int
    seconds: float
    database: str
    checkpoints: int = 5
    keep: bool = False


@dataclass
class Outcome:
    """Result of a soak test."""

    plan: Plan
    result: Result
    faults: Counter[str]
    checkpoints: Sequence[Checkpoint]
    seconds: float

    @property
    def leaks(self) -> list[str]:
        """Values that differ too much between checkpoints."""
        found = differences(self.checkpoints).items()
        return [f"{name} differ by {d:.1%}" for name, d in found if d >= MAX_DIFFERENCE]

    @property
    def is_clean(self) -> bool:
        return not (self.result.defects or self.leaks)


def soak(plan: Plan, *, log: Log) -> Outcome:
    """Run a soak test; the result counts the defects. Raise TimeoutError if it never gets idle."""
    directory = Path(tempfile.mkdtemp(prefix="jk"))
    directory.chmod(0o755)
    stage = _stage(plan, directory, log)
    try:
        stage.world.start()
        stage.start()
        return _run(plan, stage, log)
    finally:
        stage.stop()
        if plan.keep:
            log(f"notes and logs are in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)


def _stage(plan: Plan, directory: Path, log: Log) -> Stage:
    disks = [SmallDisk(directory / name, _DISK_BYTES) for name in ("redis", "database")]
    if not all(disk.mount() for disk in disks):
        log("SKIPPED, no permission to mount file systems: full disks")
        disks = []
    inside = directory / "database"
    inside.mkdir(exist_ok=True)
    database = Sqlite(inside) if plan.database == "sqlite" else Postgres(inside)
    clocks: list[SkewedClock] = []
    if plan.database == "sqlite":
        log("SKIPPED, all processes that share an SQLite database have one clock: wrong clocks")
    elif LIBRARY is None:
        log("SKIPPED, libfaketime (Debian: faketime) is missing: wrong clocks")
    else:
        clocks = [SkewedClock(directory, offset) for offset in ("+1d", "-1d")]
    # Redis must not rewrite the append-only file: a copy of it is the snapshot.
    options = {"auto-aof-rewrite-percentage": "0"}
    world = World(directory, database, WORKERS, ENVIRONMENT, **options)
    return Stage(world, directory, plan.seed, clocks, disks)


def _run(plan: Plan, stage: Stage, log: Log) -> Outcome:
    faults, checkpoints, start = Faults(stage, random.Random(plan.seed)), [], monotonic()
    for number in range(1, plan.checkpoints + 1):
        _inject(faults, start + plan.seconds * number / plan.checkpoints)
        checkpoints.append(take_checkpoint(stage))
        values = ", ".join(f"{name} {value:.0f}" for name, value in checkpoints[-1].items())
        log(f"{monotonic() - start:.0f} s, {len(faults.done)} faults: {values}")
    stage.stop_writing()
    stage.wait_until_idle(_DRAIN_SECONDS)
    path, sequences = stage.write_logs()
    _wait_for_readers(stage, path)
    stage.stop_reading()
    result = compare(stage.directory, path, sequences, faults.losses)
    return Outcome(plan, result, Counter(faults.done), checkpoints, monotonic() - start)


def _inject(faults: Faults, until: float) -> None:
    while monotonic() < until:
        faults.do_next()
        faults.stage.check()
        sleep(faults.random.uniform(0, _MAX_PAUSE_SECONDS))


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
    yield from outcome.leaks
    yield f"seed {plan.seed}, {plan.database}: {outcome.seconds:.0f} s"


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
