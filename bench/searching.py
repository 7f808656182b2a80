"""Search for a rare word in a million events against `icontains`: `python -m bench.searching`.

The word occurs in ten events. The events belong to 200 jobs of the searching user. The baseline is
a Django query over all jobs, in the same order, for events whose data contains the word.
"""

import argparse
import random
from itertools import accumulate
from typing import Any

import orjson

from bench.databases import run_benchmark, set_up_django
from bench.ratio import compare

JOBS = 200
BATCH_EVENTS = 2000
WORDS = 20_000
RARE, HITS = "cinnamon", 10
FIRST = 1_700_000_000_000
PAGE = 100


def measure(options: argparse.Namespace) -> None:
    set_up_django()
    from events.archive import EventFilter
    from events.history import search_events
    from events.models import ArchivedEvent
    from jobs.selectors import visible_jobs

    user = make_jobs()
    fill(options.events)
    analyse()

    def ours(word: str) -> list[str]:
        jobs = visible_jobs(user).order_by().values_list("job_id")
        return [e.id for e in search_events(jobs, EventFilter.of(search=word), limit=PAGE).events]

    def baseline(word: str) -> list[str]:
        events = ArchivedEvent.objects.filter(data__icontains=word).order_by("-event_id")
        return [str(event.event_id) for event in events[:PAGE]]

    if ours(RARE) != baseline(RARE) or len(ours(RARE)) != HITS:
        raise RuntimeError(f"search found {ours(RARE)}, icontains found {baseline(RARE)}")
    where = f"{options.events} events on {options.on}, against icontains"
    claim = f"search for a word in {HITS} of {where} (at least 50)"
    compare(claim, lambda: ours(RARE), lambda: baseline(RARE), pairs=5)
    claim = f"search for a word in every second of {where} (no claim)"
    compare(claim, lambda: ours("tea"), lambda: baseline("tea"), pairs=15)


def make_jobs() -> Any:
    from django.contrib.auth import get_user_model

    from jobs.models import Job

    user = get_user_model().objects.create_user("anna")
    Job.objects.bulk_create(Job(job_id=f"bench-{n}", owner=user) for n in range(JOBS))
    return user


def fill(events: int) -> None:
    """Insert events as the archiver does, with words in a Zipf distribution."""
    from django.db import transaction

    from events.archive import store
    from events.types import Cursor, Event

    rng = random.Random(1)
    words = [f"w{n}" for n in range(WORDS)]
    weights = list(accumulate(1 / (n + 1) for n in range(WORDS)))
    rare = set(rng.sample(range(events), HITS))
    job_ids = [f"bench-{n}" for n in range(JOBS)]
    checkpoints = store.get_or_create_checkpoints(job_ids)
    for start in range(0, events, BATCH_EVENTS):
        batch: dict[int, list[Event]] = {}
        for n in range(start, start + BATCH_EVENTS):
            text = " ".join(rng.choices(words, cum_weights=weights, k=12))
            text += " tea" if n % 2 else ""
            data = {"event_type": "thought", "text": f"{text} {RARE}" if n in rare else text}
            job_id = rng.choice(job_ids)
            event = Event(str(Cursor(FIRST + n, 0)), job_id, "thought", "", orjson.dumps(data))
            batch.setdefault(checkpoints[job_id].log_id, []).append(event)
        with transaction.atomic():
            store.insert_batch(batch)
            store.advance_checkpoints({pk: own[-1].cursor for pk, own in batch.items()})


def analyse() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


if __name__ == "__main__":
    run_benchmark("bench.searching", measure, events=1_000_000)
