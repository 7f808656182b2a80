"""Several of everything at once, on one log."""

import pytest

from tests.faults.processes.checker import Expected, check

WRITERS, TRANSACTIONS = 8, 20


def counted(log):
    """The counter's values in the order of the log, with what stands before each."""
    names = [name for _, name, *_ in log]
    return [
        (number, name, names[names.index(f"{name[:-1]}a")])
        for _, name, _, number in log
        if number is not None
    ]


def events_of(writers):
    for writer in writers:
        for name in writer.said("done"):
            yield from (f"{name}-a", f"{name}-b")


@pytest.fixture
def writers(world):
    world.do("make_counter")
    children = [
        world.run("count_and_write", who=who, transactions=TRANSACTIONS) for who in range(WRITERS)
    ]
    for child in children:
        child.until("ready")
    return children


def test_eight_writers_two_relays_two_archivers(world, writers):
    """The order of the log is that of the commits: a counter under the same lock says so."""
    workers = [world.run("work_until_told") for _ in range(2)]
    for child in [*writers, *workers]:
        child.go()
    for child in writers:
        child.end(60)
    dump = world.drained()["abc"]
    committed = set(events_of(writers))
    assert len(committed) == WRITERS * TRANSACTIONS * 0.9 * 2
    in_order = [name for _, name, *_ in dump["log"] if name in committed]
    published = [name for writer in writers for name in writer.said("published")]
    check(dump, Expected(committed=in_order, published=published))
    assert set(in_order) == committed
    numbers = [number for *_, number in dump["log"] if number is not None]
    assert numbers == list(range(1, len(committed) // 2 + 1))
    firsts = [name for name in in_order if name.endswith("-a")]
    seconds = [name for name in in_order if name.endswith("-b")]
    assert [name[:-2] for name in firsts] == [name[:-2] for name in seconds]


def test_writers_while_archivers_and_redis_are_killed(world, writers):
    """None of the writers is told of it; what they publish besides may fail, and be lost."""
    for child in writers:
        child.go()
    for number in range(4):
        worker = world.run("work_until_told")
        worker.until("worked")
        if number % 2:
            world.kill_redis()
            world.restore()
        worker.kill()
    for child in writers:
        child.end(60)
    dump = world.drained()["abc"]
    committed = set(events_of(writers))
    in_order = [name for _, name, *_ in dump["log"] if name in committed]
    assert set(in_order) == committed
    published = [name for writer in writers for name in writer.said("published")]
    check(dump, Expected(committed=in_order, published=published))
    numbers = [number for *_, number in dump["log"] if number is not None]
    assert numbers == list(range(1, len(committed) // 2 + 1))
