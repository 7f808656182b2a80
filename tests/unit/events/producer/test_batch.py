"""Numbering and grouping of appends."""

from collections import deque

import pytest

from events.exceptions import ProducerFenced, RedisUnavailable, RetryExpired
from events.producer import batch as module
from events.producer.batch import (
    LastAcked,
    PendingAppend,
    ProducerState,
    batches_of,
    number,
    retried,
)
from events.producer.sender import AsyncSender

KEYS, OTHER = ("a", "{a}:producers"), ("b", "{b}:producers")


def append(count=1, keys=KEYS, epoch=0, key_id="", **options):
    return PendingAppend(keys, epoch, [(b"{}", "t", "x")] * count, key_id=key_id, **options)


@pytest.fixture
def producer():
    return ProducerState("p")


def grouped(producer, *appends):
    """Return producer, epoch, first sequence, number of events and appends of each batch."""
    batches = batches_of(appends, producer, LastAcked())
    return [
        (*batch.command[5:8], batch.count, [appends.index(each) for each in group])
        for batch, group in batches.items()
    ]


def test_sequences_are_consecutive(producer):
    assert grouped(producer, append(2)) == [("p", 0, 1, 2, [0])]
    assert grouped(producer, append(3), append()) == [("p", 0, 3, 4, [0, 1])]
    assert producer.sequence == 7


def test_batch_for_each_job_and_epoch(producer):
    appends = append(), append(keys=OTHER), append(), append(epoch=2)
    assert grouped(producer, *appends) == [
        ("p", 0, 1, 2, [0, 2]),
        ("p", 0, 3, 1, [1]),
        ("p", 2, 4, 1, [3]),
    ]


def test_batch_for_each_idempotency_key(producer):
    """This includes equal keys: Redis detects the second one by the state of the first."""
    appends = append(), append(2, key_id="k"), append(2, key_id="k", epoch=3)
    assert grouped(producer, *appends) == [
        ("p", 0, 1, 1, [0]),
        ("k", 0, 1, 2, [1]),
        ("k", 3, 1, 2, [2]),
    ]
    assert producer.sequence == 2


def test_retried_appends_keep_their_batch(producer):
    first, second = append(), append(2)
    batch = number([first, second], producer, LastAcked())
    appends = retried(second), append(), retried(first), retried(second)
    assert batches_of(appends, ProducerState("q"), LastAcked()) == {
        batch: [appends[0], *appends[2:]],
        appends[1].batch: [appends[1]],
    }
    assert appends[1].batch.command[5] == "q"


def test_caller_receives_its_ids(producer):
    appends = append(), append(3), append()
    batch = number(appends, producer, LastAcked())
    assert [each.ids for each in appends] == [[], [], []]
    LastAcked().acknowledge(batch, [b"7-1", b"7-5"])
    assert [each.ids for each in appends] == [["7-1"], ["7-2", "7-3", "7-4"], ["7-5"]]


def test_error_contains_the_append_of_its_caller(producer):
    appends = append(), append()
    number(appends, producer, LastAcked())
    shared = RedisUnavailable("gone")
    for each in appends:
        each.settle(shared)
    assert [each.error.pending for each in appends] == list(appends)
    assert str(appends[0].error) == "gone"
    refusal = ProducerFenced()
    appends[0].settle(refusal)
    assert appends[0].error is refusal


def test_retry_expires(producer, monkeypatch):
    pending = append()
    with pytest.raises(TypeError):
        retried(pending)  # not sent
    batch = number([pending], producer, LastAcked())
    monkeypatch.setattr(module, "monotonic", lambda: batch.numbered_at + module.RETRY_SECONDS - 1)
    assert retried(pending).batch is batch
    monkeypatch.setattr(module, "monotonic", lambda: batch.numbered_at + module.RETRY_SECONDS + 1)
    with pytest.raises(RetryExpired):
        retried(pending)
    LastAcked().acknowledge(batch, b"7-1")
    assert retried(pending).ids == ["7-1"]


def acknowledged(last_acked, event_id, *, failed=False):
    batch = number([append()], ProducerState("p", 5), last_acked)
    batch.failed = failed
    last_acked.acknowledge(batch, event_id)
    return batch


def test_last_acknowledged_append_is_the_floor_of_the_next():
    last_acked = LastAcked()
    assert acknowledged(last_acked, b"7-1").command[8] == ""
    assert acknowledged(last_acked, b"9-1").command[8] == "5 7-1"
    acknowledged(last_acked, b"10-0", failed=True)
    assert last_acked.get(KEYS) == "5 10-0"


def test_retry_does_not_lower_the_floor():
    last_acked = LastAcked()
    acknowledged(last_acked, b"10-2")
    acknowledged(last_acked, b"9-7", failed=True)
    assert last_acked.get(KEYS) == "5 10-2"


def test_number_of_floors_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "MAX_LAST_ACKED_JOBS", 2)
    last_acked = LastAcked()
    for name in "abc":
        batch = number([append(keys=(name, name))], ProducerState(), last_acked)
        last_acked.acknowledge(batch, b"1-1")
    assert last_acked == {("c", "c"): "1 1-1"}


@pytest.mark.parametrize(
    ("queued", "loads"),
    [
        ("aaa", ["aaa"]),
        ("aKKa", ["aKK", "a"]),
        ("KaKa", ["K", "aK", "a"]),
        ("a" * 501, ["a" * 500, "a"]),
    ],
)
def test_appends_behind_a_key_wait_for_the_next_round_trip(queued, loads):
    sender = AsyncSender(None, ProducerState("p"), is_shared=False)
    sender._queue = deque(append(key_id="k" if each == "K" else "") for each in queued)
    taken = []
    while sender._queue:
        groups = sender._next_batches()
        appends = sorted(
            (each for group in groups.values() for each in group), key=lambda each: not each.key_id
        )
        taken.append("".join(sorted("K" if each.key_id else "a" for each in appends)))
    assert taken == ["".join(sorted(load)) for load in loads]
