"""Concurrent writers, relays and archivers on one log."""

import pytest

from tests.faults.processes.checker import Expected, check

WRITERS, TRANSACTIONS = 8, 20


def events_of(writers):
    for writer in writers:
        for name in writer.values_of("done"):
            yield from (f"{name}-a", f"{name}-b")


@pytest.fixture
def writers(world):
    world.do("create_counter")
    children = [
        world.run("count_and_write", writer=number, transactions=TRANSACTIONS)
        for number in range(WRITERS)
    ]
    for child in children:
        child.wait_for("ready")
    return children


def test_log_has_commit_order_with_concurrent_writers_and_archivers(world, writers):
    """A counter that is incremented under the same lock records the commit order."""
    workers = [world.run("process_until_signalled") for _ in range(2)]
    for child in [*writers, *workers]:
        child.proceed()
    for child in writers:
        child.join(60)
    dump = world.drained()["abc"]
    committed = set(events_of(writers))
    assert len(committed) == WRITERS * TRANSACTIONS * 0.9 * 2
    in_order = [name for _, name, *_ in dump["log"] if name in committed]
    published = [name for writer in writers for name in writer.values_of("published")]
    check(dump, Expected(committed=in_order, published=published))
    assert set(in_order) == committed
    numbers = [number for *_, number in dump["log"] if number is not None]
    assert numbers == list(range(1, len(committed) // 2 + 1))
    firsts = [name for name in in_order if name.endswith("-a")]
    seconds = [name for name in in_order if name.endswith("-b")]
    assert [name[:-2] for name in firsts] == [name[:-2] for name in seconds]


def test_archivers_and_redis_are_killed_during_writes(world, writers):
    """The writers receive no error from commits. Their stream-first events may fail and be lost."""
    for child in writers:
        child.proceed()
    for number in range(4):
        worker = world.run("process_until_signalled")
        worker.wait_for("worked")
        if number % 2:
            world.kill_redis()
            world.restore()
        worker.kill()
    for child in writers:
        child.join(60)
    dump = world.drained()["abc"]
    committed = set(events_of(writers))
    in_order = [name for _, name, *_ in dump["log"] if name in committed]
    assert set(in_order) == committed
    published = [name for writer in writers for name in writer.values_of("published")]
    check(dump, Expected(committed=in_order, published=published))
    numbers = [number for *_, number in dump["log"] if number is not None]
    assert numbers == list(range(1, len(committed) // 2 + 1))
