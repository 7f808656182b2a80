"""Search conditions return the same events from both tiers and on every database."""

import random

import pytest

from events.archive import EventFilter, lookups
from events.history import read_events
from events.models import ArchivedEvent
from events.outbox import publish_event
from events.publisher import get_publisher
from events.streams.clients import get_redis
from tests.integration.jobs.conftest import archived

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

WORDS = [
    "tea",
    "milk",
    "naïve",
    "東京",
    "Straße",
    "x_1",
    "7",
    "0.5",
    "tée",
    "_",
    "ﬁne",
    "it's",
    '"',
]
VALUES = [
    True,
    False,
    None,
    3,
    0.5,
    1e22,
    "",
    " ",
    "Tea",
    "a b",
    "'; --",
    {},
    [],
    {"a": [{"b": 1}]},
]
SEARCHES = [
    "tea",
    "TEA milk",
    "te*",
    "tea naïve",
    "京",
    "strasse",
    "7",
    "5",
    "_",
    "x_1",
    "fine",
    "s",
]
WHERE = [
    {"v": "true"}, {"v": "null"}, {"v": "3"}, {"v": "0.5"}, {"v": ""}, {"v": "Tea"}, {"v": "a b"},
    {"v": "'; --"}, {"v.a.b": "1"}, {"v": "1e+22"}, {"w": "x"}, {"v": "3", "text": "tea"},
]  # fmt: skip
TYPES = [None, ["a"], ["a", "b"], ["c"], ["it's"], []]


def publish(job_id, count, rng):
    events = [
        {
            "event_type": rng.choice(["a", "b", "it's"]),
            "text": " ".join(rng.choices(WORDS, k=rng.randrange(4))),
            "v": rng.choice(VALUES),
            "n": n,
        }
        for n in range(count)
    ]
    return get_publisher().publish_events(job_id, events)


@pytest.fixture(params=[0, 1000], ids=["scan", "index"])
def plan(request, monkeypatch):
    """Evaluate filters by scan or by index on SQLite; the planner decides on PostgreSQL."""
    monkeypatch.setattr(lookups, "MAX_INDEXED_ROWS", request.param)


def all_conditions():
    for search in SEARCHES:
        yield {"search": search}
    for where in WHERE:
        yield {"where": where}
    for types in TYPES:
        yield {"event_types": types}
        yield {"event_types": types, "search": "tea", "where": {"v": "3"}}


@pytest.mark.parametrize("tier", ["stream", "archive", "both"])
def test_both_tiers_return_what_the_filter_matches(plan, tier):
    rng = random.Random(tier)
    publish("abc", 150, rng)
    if tier != "stream":
        archived()
    if tier == "archive":
        get_redis().flushall()
    if tier == "both":
        publish("abc", 150, rng)
    log = read_events("abc")
    assert len(log) >= 150
    hits = 0
    for conditions in all_conditions():
        event_filter = EventFilter.of(**conditions)
        expected = [event.id for event in log if event_filter.matches(event)]
        hits += len(expected)
        assert [event.id for event in read_events("abc", **conditions)] == expected, conditions
        latest = read_events("abc", order="desc", limit=5, **conditions)
        assert [event.id for event in latest] == expected[::-1][:5], conditions
    assert hits > 500


def test_events_of_the_outbox_are_indexed(plan):
    publish_event("abc", {"event_type": "note", "text": "tea"})
    assert len(read_events("abc", search="tea")) == 1
    archived()
    get_redis().flushall()
    assert [event.event_type for event in read_events("abc", search="tea")] == ["note"]


def test_deleted_events_are_not_found(plan):
    publish("abc", 50, random.Random(1))
    archived()
    get_redis().flushall()
    ArchivedEvent.objects.all().delete()
    assert read_events("abc", search="tea") == []
    publish("def", 50, random.Random(1))
    archived()
    assert read_events("def", search="tea")
