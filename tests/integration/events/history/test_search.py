"""Searching a log, and the logs of many jobs: the same is found in every end and database."""

import random

import pytest

from events.archive import lookups
from events.archive.filters import EventFilter
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


def published(job_id, count, chance):
    events = [
        {
            "event_type": chance.choice(["a", "b", "it's"]),
            "text": " ".join(chance.choices(WORDS, k=chance.randrange(4))),
            "v": chance.choice(VALUES),
            "n": n,
        }
        for n in range(count)
    ]
    return get_publisher().publish_events(job_id, events)


@pytest.fixture(params=[0, 1000], ids=["scan", "index"])
def how(request, monkeypatch):
    """On SQLite, how what is archived is looked for; on PostgreSQL it is the planner that says."""
    monkeypatch.setattr(lookups, "MAX_INDEXED_ROWS", request.param)


def all_conditions():
    for search in SEARCHES:
        yield {"search": search}
    for where in WHERE:
        yield {"where": where}
    for types in TYPES:
        yield {"event_types": types}
        yield {"event_types": types, "search": "tea", "where": {"v": "3"}}


@pytest.mark.parametrize("end", ["stream", "archive", "both"])
def test_what_is_found(how, end):
    """Whatever is found where: it is what the conditions say of each event."""
    chance = random.Random(end)
    published("abc", 150, chance)
    if end != "stream":
        archived()
    if end == "archive":
        get_redis().flushall()
    if end == "both":
        published("abc", 150, chance)
    log = read_events("abc")
    assert len(log) >= 150
    hits = 0
    for conditions in all_conditions():
        wanted = EventFilter.of(**conditions)
        expected = [event.id for event in log if wanted.matches(event)]
        hits += len(expected)
        assert [event.id for event in read_events("abc", **conditions)] == expected, conditions
        latest = read_events("abc", order="desc", limit=5, **conditions)
        assert [event.id for event in latest] == expected[::-1][:5], conditions
    assert hits > 500


def test_an_event_of_the_outbox_is_found_as_soon_as_it_is_in_the_log(how):
    publish_event("abc", {"event_type": "said", "text": "tea"})
    assert len(read_events("abc", search="tea")) == 1
    archived()
    get_redis().flushall()
    assert [event.event_type for event in read_events("abc", search="tea")] == ["said"]


def test_what_is_deleted_is_found_no_more(how):
    published("abc", 50, random.Random(1))
    archived()
    get_redis().flushall()
    ArchivedEvent.objects.all().delete()
    assert read_events("abc", search="tea") == []
    published("def", 50, random.Random(1))
    archived()
    assert read_events("def", search="tea")
