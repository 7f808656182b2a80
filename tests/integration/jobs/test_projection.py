"""The job row follows what the log says: told by events as the archiver hands them over."""

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from django.db import connection, transaction
from django.utils import timezone

from events.archive.projections import projections
from events.codec import MAX_EVENT_BYTES, decode_entry
from events.types import Event
from jobs import services, signals
from jobs.models import Job
from jobs.projection import COMPLETION_GRACE, JobProjection
from tests.integration.jobs.conftest import locked_elsewhere

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

TIME = "2026-01-02T03:04:05+00:00"
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Log:
    """Makes events of one job, each with the next id."""

    def __init__(self, job_id="abc"):
        self.job_id = job_id
        self.count = 0

    def event(self, event_type, *, producer="", timestamp=TIME, **data):
        self.count += 1
        data = {"event_type": event_type, "timestamp": timestamp, **data}
        fields = {b"data": orjson.dumps(data), b"event_type": event_type.encode()}
        event = decode_entry(self.job_id, f"{self.count}-0", fields)
        return event._replace(producer=producer)

    def raw(self, event_type, raw, *, producer="", timestamp=TIME):
        """An event of which the data are these bytes, whatever they are."""
        self.count += 1
        return Event(f"{self.count}-0", self.job_id, event_type, timestamp, raw, producer)

    def step(self, event_type, attempt, **data):
        """An event of a service."""
        producer = f"outbox:{attempt}:{self.count + 1}"
        return self.event(event_type, producer=producer, attempt=attempt, **data)


@pytest.fixture
def said():
    return Log()


def apply(*events):
    by_job = {}
    for event in events:
        by_job.setdefault(event.job_id, []).append(event)
    with transaction.atomic():
        assert not list(JobProjection().lock(by_job))
        JobProjection().apply(by_job)


def starting(*job_ids):
    return {job_id: [Log().event("task_started")] for job_id in job_ids}


def create(status="pending", **fields):
    """A job of this status, of which the log knows nothing."""
    more = {}
    if status in Job.TERMINAL_STATUSES:
        more["finished_at"] = timezone.now()
    return Job.objects.create(**{"job_id": "abc", "status": status, **more, **fields})


def row(job_id="abc"):
    return Job.objects.get(job_id=job_id)


def values(job_id="abc"):
    return Job.objects.filter(job_id=job_id).values().get()


def test_jobs_registers_its_projection_once():
    assert [type(projection) for projection in projections].count(JobProjection) == 1


# What each event does


def test_a_whole_life_told_by_a_worker_without_a_database(said):
    create()
    apply(said.event("task_started", timestamp="2026-01-02T03:00:00+00:00"))
    assert (row().status, row().started_at) == ("running", WHEN - timedelta(seconds=245))
    apply(said.event("task_progress", progress=40), said.event("task_progress", progress=62.5))
    assert (row().status, row().progress) == ("running", 62.5)
    apply(said.event("task_completed", result={"pages": [1, None, "ü"]}))
    job = row()
    assert (job.status, job.progress, job.result) == ("completed", 100.0, {"pages": [1, None, "ü"]})
    assert (job.started_at, job.finished_at) == (WHEN - timedelta(seconds=245), WHEN)
    assert job.error == ""


def test_a_whole_life_in_one_batch(said):
    create()
    apply(
        said.event("task_started"),
        said.event("thought", text="hm"),
        said.event("task_progress", progress=10),
        said.event("task_completed", result=5),
    )
    assert (row().status, row().progress, row().result) == ("completed", 100.0, 5)


def test_a_failure(said):
    create("running", progress=30, started_at=WHEN)
    apply(said.event("task_failed", error="no ink", timestamp="2026-01-02T03:05:05+00:00"))
    job = row()
    assert (job.status, job.error, job.progress) == ("failed", "no ink", 30)
    assert job.finished_at == WHEN + timedelta(seconds=60)
    assert job.result is None


@pytest.mark.parametrize("event_type", ["task_completed", "task_failed"])
def test_a_job_that_is_over_before_it_said_that_it_began(said, event_type):
    create()
    apply(said.event(event_type))
    assert row().started_at == row().finished_at == WHEN


def test_a_progress_begins_the_job(said):
    create()
    apply(said.event("task_progress", progress=7))
    assert (row().status, row().progress, row().started_at) == ("running", 7, WHEN)


@pytest.mark.parametrize("status", ["pending", "running"])
@pytest.mark.parametrize("event_type", ["thought", "done", "error", "job_cancelled", "unknown", ""])
def test_other_events_say_nothing_of_the_job(said, status, event_type):
    create(status)
    before = values()
    apply(said.event(event_type, job_status="completed", progress=50, attempt=1))
    assert values() == before


def test_events_of_jobs_without_a_row(said):
    create(job_id="other")
    apply(Log("nobody").event("task_started"), Log("other").event("task_started"))
    assert row("other").status == "running"
    assert Job.objects.count() == 1


# A job of several tasks


@pytest.mark.parametrize("event_type", ["task_completed", "task_failed"])
def test_the_end_of_one_task_of_several(said, event_type):
    create("running", started_at=WHEN)
    apply(said.event(event_type, job_status="running", progress=40, result=1, error="x"))
    job = row()
    assert (job.status, job.progress, job.result, job.error) == ("running", 40, None, "")
    assert job.finished_at is None


@pytest.mark.parametrize(
    ("event_type", "job_status"),
    [
        ("task_progress", "completed"),
        ("task_started", "failed"),
        ("task_failed", "cancelled"),
        ("task_completed", "failed"),
    ],
)
def test_what_the_event_says_of_the_job_is_believed(said, event_type, job_status):
    create("running")
    apply(said.event(event_type, job_status=job_status))
    assert row().status == job_status
    assert row().finished_at == WHEN


@pytest.mark.parametrize("said_status", ["lost", "", "RUNNING", None, 5, True, [], {}, ["failed"]])
def test_what_is_no_status_is_as_if_unsaid(said, said_status):
    create("running")
    apply(said.event("task_completed", job_status=said_status))
    assert row().status == "completed"


# Never backwards


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
@pytest.mark.parametrize(
    "event_type", ["task_started", "task_progress", "task_completed", "task_failed"]
)
def test_a_job_that_is_over_stays_as_it_is(said, status, event_type):
    create(status, error="first", result=[1], progress=50)
    before = values()
    apply(said.event(event_type, progress=60, result=2, error="second", attempt=1))
    assert values() == before


def test_a_running_job_does_not_wait_again(said):
    create("running", started_at=WHEN)
    apply(said.event("task_progress", job_status="pending", progress=5))
    assert (row().status, row().started_at) == ("running", WHEN)


def test_a_job_that_still_waits_has_no_progress(said):
    create()
    before = values()
    apply(said.event("task_progress", job_status="pending", progress=5))
    assert values() == before


def test_a_second_start_is_not_the_start(said):
    create("running", started_at=WHEN)
    apply(said.event("task_started", timestamp="2026-01-03T00:00:00+00:00"))
    assert row().started_at == WHEN


def test_progress_does_not_go_back(said):
    create("running", progress=50)
    apply(said.event("task_progress", progress=49.9), said.event("task_progress", progress=50))
    assert row().progress == 50
    apply(said.event("task_progress", progress=70), said.event("task_progress", progress=60))
    assert row().progress == 70


def test_a_service_was_faster_than_the_archiver(said, make_job):
    """What the log says now is older than the row."""
    job = make_job("running", job_id="abc")
    services.job_progress(job_id=job.job_id, progress=80)
    before = values()
    apply(said.event("task_started"), said.event("task_progress", progress=20))
    assert values() == before
    services.job_complete(job_id=job.job_id, result="of the service")
    before = values()
    apply(said.event("task_failed", error="of a worker"))
    assert values() == before


def test_what_was_applied_changes_nothing_when_applied_again(said):
    create()
    events = [
        said.step("job_created", 1),
        said.event("task_started", timestamp="not a time"),
        said.event("task_progress", progress=10),
        said.event("task_failed", error="boom", timestamp="not a time"),
    ]
    states = []
    for event in events:
        apply(event)
        apply(event)
        states.append(values())
        apply(*events[: len(states)])
        assert values() == states[-1]


# Never across attempts


def test_an_event_of_an_older_attempt_by_its_label(said):
    create(attempt=2, projected_attempt=2)
    before = values()
    apply(
        said.event("task_started", attempt=1),
        said.event("task_completed", producer="worker:1:7", result=1),
        said.event("task_failed", attempt=2, producer="worker:1:8"),
        said.event("task_failed", attempt=1, producer="worker:2:9"),
        said.event("task_failed", attempt=1.0),
        said.event("task_failed", attempt=3),
        said.event("task_failed", attempt=0),
        said.event("task_failed", attempt=-1),
        said.event("task_failed", attempt=1e300),
    )
    assert values() == before


@pytest.mark.parametrize(
    "label",
    [
        {"attempt": 2},
        {"producer": "worker:2:1"},
        {"attempt": 2, "producer": "worker:2:1"},
        {"attempt": 2, "producer": "worker:0:1"},
        {"attempt": 2, "producer": "no producer"},
    ],
)
def test_an_event_of_this_attempt_by_its_label(said, label):
    """Even before the log has come to the retry: Redis was down when it was committed."""
    create(attempt=2, projected_attempt=1)
    apply(said.event("task_started", **label))
    assert row().status == "running"


@pytest.mark.parametrize("attempt", [None, "2", True, False, [], {}, "first"])
def test_what_is_no_label_is_as_if_unsaid(said, attempt):
    create()
    apply(said.event("task_started", attempt=attempt))
    assert row().status == "running"


def test_an_event_without_a_label_is_of_the_attempt_that_the_log_was_at(said):
    """The row was moved by the retry before the archiver came to what the old worker said."""
    create(attempt=2)
    apply(
        said.step("job_created", 1),
        said.event("task_started", timestamp="2026-01-01T00:00:00+00:00"),
        said.step("job_cancelled", 1),
        said.event("task_completed", result="too late"),
    )
    assert (row().status, row().projected_attempt) == ("pending", 1)
    apply(said.step("job_retried", 2), said.event("task_started"))
    assert (row().status, row().projected_attempt, row().started_at) == ("running", 2, WHEN)


def test_the_attempt_of_the_log_is_kept_between_batches(said):
    create(attempt=3)
    apply(said.step("job_retried", 2))
    apply(said.event("task_completed"))
    assert (row().status, row().projected_attempt) == ("pending", 2)
    apply(said.step("job_retried", 3))
    apply(said.event("task_completed"))
    assert (row().status, row().projected_attempt) == ("completed", 3)


def test_the_attempt_of_the_log_moves_while_the_job_is_over(said):
    create("failed", attempt=2)
    apply(said.step("job_retried", 2), said.step("task_failed", 2))
    assert row().projected_attempt == 2


@pytest.mark.parametrize("attempt", [0, 3, 10**17])
def test_an_attempt_that_the_job_never_had(said, attempt):
    """Somebody's own transactional event, or a log that is older than its job."""
    create(attempt=2, projected_attempt=2)
    apply(said.step("task_started", attempt))
    assert (row().status, row().projected_attempt) == ("pending", 2)


def test_an_event_of_a_service_is_in_the_row_already(said):
    create("running", progress=5)
    apply(said.step("task_progress", 1, progress=50), said.step("task_completed", 1, result=1))
    assert (row().status, row().progress) == ("running", 5)


@pytest.mark.parametrize(
    "producer", ["outbox", "outbox:", "outbox:1", "outbox:x:1", "outbox:1:1:1"]
)
def test_who_only_looks_like_a_service_is_a_stranger(said, producer):
    create()
    apply(said.event("task_started", producer=producer))
    assert row().status == "running"


# What strangers write

DEEP = b"[" * 20_000 + b"]" * 20_000


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"5",
        b"[]",
        b'"text"',
        DEEP,
        b'{"result": ' + DEEP + b"}",
        b'{"progress": NaN}',
        b'{"progress": 1e400}',
        b'{"progress": %s}' % (b"9" * 400),
        b'{"error": "\\ud800"}',
        b"\xff",
    ],
    ids=range(13),
)
def test_what_cannot_be_read_says_nothing(said, raw):
    create("running")
    before = values()
    apply(said.raw("task_completed", raw), said.raw("task_progress", raw, producer="\x00"))
    entry = decode_entry("abc", "9-0", {b"data": raw, b"event_type": b"task_completed"})
    apply(entry)
    assert values() == before


@pytest.mark.parametrize(
    "progress",
    [
        b"-1", b"100.1", b"-0.5", b'"50"', b'"half"', b"true", b"null", b"[]", b"{}", b"9" * 30,
        b"1e308", b"[" * 900 + b"]" * 900,
    ],
    ids=range(12),
)  # fmt: skip
def test_what_is_no_progress_still_is_a_sign_of_life(said, progress):
    create()
    apply(said.raw("task_progress", b'{"progress": %s}' % progress))
    assert (row().status, row().progress) == ("running", 0)


@pytest.mark.parametrize(
    "result",
    [
        b'"a\\u0000b"',
        b'{"a\\u0000": 1}',
        b"[" * 300 + b"]" * 300,
        b'"%s"' % (b"x" * MAX_EVENT_BYTES),
    ],
    ids=range(4),
)
def test_a_result_that_a_row_cannot_hold_is_in_the_log_only(said, caplog, result):
    create("running")
    apply(said.raw("task_completed", b'{"result": %s}' % result))
    assert (row().status, row().progress, row().result) == ("completed", 100, None)
    (record,) = [r for r in caplog.records if r.message == "job_result_discarded"]
    assert (record.job_id, record.event_id) == ("abc", "1-0")


@pytest.mark.parametrize(
    "result",
    [None, False, 0, "", [], {}, "text", [1, None], {"ü": "€😀"}, 1.5, 2**63, "x" * 100_000],
    ids=range(12),
)
def test_any_json_is_a_result(said, result):
    create("running")
    create("running", job_id="other")
    apply(said.event("task_completed", result=result), Log("other").event("task_completed"))
    assert row().result == result
    assert type(row().result) is type(result)
    assert row("other").result is None


def test_a_missing_result_is_none_in_sql_too(said):
    create("running")
    apply(said.event("task_completed", result=None))
    assert Job.objects.filter(result__isnull=True).exists()


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (None, ""),
        ("", ""),
        ("boom", "boom"),
        ("a\x00b", "a\ufffdb"),
        (5, "5"),
        (False, "False"),
        ({"code": 1}, "{'code': 1}"),
        ([], "[]"),
        ("x" * 10_001, "x" * 10_000 + " [... 1 more characters]"),
    ],
    ids=range(9),
)
def test_an_error(said, error, kept):
    create("running")
    apply(said.event("task_failed", error=error))
    assert (row().status, row().error) == ("failed", kept)


def test_an_error_of_many_levels(said):
    create("running")
    apply(said.raw("task_failed", b'{"error": %s}' % (b"[" * 900 + b"]" * 900)))
    assert row().status == "failed"
    assert row().error


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (TIME, WHEN),
        ("2026-01-02T03:04:05", WHEN),
        ("2026-01-02T03:04:05Z", WHEN),
        ("2026-01-02T05:04:05+02:00", WHEN),
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
        ("0002-01-01T00:00:00+00:00", datetime(2, 1, 1, tzinfo=UTC)),
    ],
)
def test_when_it_happened(said, timestamp, expected):
    create()
    apply(said.event("task_started", timestamp=timestamp))
    assert row().started_at == expected


@pytest.mark.parametrize(
    "timestamp",
    ["", "yesterday", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59",
     "9998-12-31T23:59:59+00:00", "2026-13-01", "\x00"],
)  # fmt: skip
def test_a_time_that_cannot_be_is_now(said, timestamp):
    """Of a finish in the year 9998, no viewer would be told the end."""
    create()
    apply(said.raw("task_completed", b"{}", timestamp=timestamp))
    for time in (row().started_at, row().finished_at):
        assert abs(timezone.now() - time) < timedelta(minutes=1)


def test_a_job_does_not_finish_before_it_started(said):
    later = timezone.now() + timedelta(hours=1)
    create("running", started_at=later)
    apply(said.event("task_completed"))
    assert row().finished_at == later
    create(job_id="other")
    log = Log("other")
    apply(
        log.event("task_started", timestamp="2026-01-02T00:00:00+00:00"),
        log.event("task_failed", timestamp="2026-01-01T00:00:00+00:00"),
    )
    assert row("other").started_at == row("other").finished_at


def test_one_bad_event_hides_no_good_one(said):
    create()
    apply(
        said.raw("task_started", b"{"),
        said.event("task_started", attempt="x", job_status=[]),
        said.raw("task_progress", DEEP),
        said.event("task_progress", progress={"per cent": 5}),
        said.event("task_progress", progress=5),
    )
    assert (row().status, row().progress) == ("running", 5)


# Signals


@pytest.fixture
def heard():
    """The signals that were sent: name, statuses, and what the row was then."""
    heard = []

    def changed(job, old_status, new_status, **_):
        heard.append((job.job_id, str(old_status), str(new_status), row(job.job_id).status))

    def progressed(job, **_):
        heard.append((job.job_id, job.progress))

    signals.job_status_changed.connect(changed)
    signals.job_progressed.connect(progressed)
    yield heard
    signals.job_status_changed.disconnect(changed)
    signals.job_progressed.disconnect(progressed)


def test_receivers_are_told_after_the_commit(said, heard):
    create()
    with transaction.atomic():
        JobProjection().apply({"abc": [said.event("task_started"), said.event("task_completed")]})
        assert heard == []
    assert heard == [
        ("abc", "pending", "running", "completed"),
        ("abc", "running", "completed", "completed"),
    ]


def test_receivers_are_told_of_progress_once_a_batch(said, heard):
    create("running")
    apply(*[said.event("task_progress", progress=n) for n in range(50)])
    assert heard == [("abc", 49)]


def test_receivers_are_told_nothing_when_nothing_changes(said, heard):
    create("running", progress=50)
    apply(said.event("task_progress", progress=10), said.event("task_started"))
    apply(said.step("task_completed", 1))
    assert heard == []


def test_receivers_are_told_nothing_of_what_is_rolled_back(said, heard):
    create()
    with transaction.atomic():
        JobProjection().apply({"abc": [said.event("task_started")]})
        transaction.set_rollback(True)
    assert (heard, row().status) == ([], "pending")


def test_a_receiver_that_raises_hurts_nobody(said, heard):
    def break_down(**_):
        raise RuntimeError("a fault of a third party")

    create()
    create(job_id="other")
    signals.job_status_changed.connect(break_down)
    try:
        apply(said.event("task_started"), Log("other").event("task_started"))
    finally:
        signals.job_status_changed.disconnect(break_down)
    assert {told[0] for told in heard} == {"abc", "other"}


def test_a_receiver_may_look_at_all_of_the_job(said):
    seen = []

    def receiver(job, **_):
        seen.append((job.payload, job.result))

    create(payload={"a": 1})
    signals.job_status_changed.connect(receiver)
    try:
        apply(said.event("task_started"), said.event("task_completed", result=[2]))
    finally:
        signals.job_status_changed.disconnect(receiver)
    assert seen == [({"a": 1}, [2])] * 2


# What it costs


def lives(job_ids, *, tokens=5):
    for job_id in job_ids:
        log = Log(job_id)
        yield log.step("job_created", 1)
        yield log.event("task_started")
        for n in range(tokens):
            yield log.event("thought", text="token")
            yield log.event("task_progress", progress=n)
        yield log.event("task_completed", result={"of": job_id})


def queries(captured):
    return [q["sql"] for q in captured if not q["sql"].startswith(("BEGIN", "COMMIT", "SAVEPOINT"))]


def test_a_batch_of_many_jobs_costs_a_few_queries(django_assert_max_num_queries):
    job_ids = [f"job-{n}" for n in range(300)]
    Job.objects.bulk_create([Job(job_id=job_id) for job_id in job_ids])
    events = list(lives(job_ids))
    with django_assert_max_num_queries(20):
        apply(*events)
    assert set(Job.objects.values_list("status", "progress")) == {("completed", 100.0)}
    assert row("job-7").result == {"of": "job-7"}


def test_tokens_cost_nothing(said, django_assert_num_queries):
    create("running")
    tokens = [said.event("thought", text="token") for _ in range(1000)]
    with transaction.atomic(), django_assert_num_queries(0):
        JobProjection().apply({"abc": tokens, "other": []})


def test_the_payload_and_an_old_result_are_not_read(said, django_assert_max_num_queries):
    create("running", payload={"large": "x" * 1000})
    with django_assert_max_num_queries(10) as captured:
        apply(said.event("task_completed", result=1))
    assert not any("payload" in sql for sql in queries(captured.captured_queries))


# Several at once


def test_a_row_that_nobody_has_locked_is_locked(said):
    create()
    with transaction.atomic():
        assert list(JobProjection().lock(starting("abc", "nobody"))) == []


def test_a_row_that_somebody_else_has_locked_is_left_to_them():
    create()
    create(job_id="free")
    if connection.vendor == "sqlite":  # it has one lock, for all rows
        assert not JobProjection().lock(starting("abc", "free"))
        return
    with locked_elsewhere(), transaction.atomic():
        assert set(JobProjection().lock(starting("abc", "free", "nobody"))) == {"abc"}
        tokens = {"abc": [Log().event("thought", text="hm")]}
        assert not JobProjection().lock(tokens)
        JobProjection().apply({"abc": [Log().event("task_started")]})
    assert row().status == "pending"
    with transaction.atomic():
        assert not list(JobProjection().lock(starting("abc", "free")))


# Finished


def test_a_job_is_finished_some_seconds_after_its_end():
    now = timezone.now()
    for status in Job.TERMINAL_STATUSES:
        create(status, job_id=f"old-{status}", finished_at=now - COMPLETION_GRACE)
        create(status, job_id=f"new-{status}", finished_at=now)
    create(job_id="pending")
    create("running", job_id="running")
    job_ids = [*Job.objects.values_list("job_id", flat=True), "nobody"]
    assert set(JobProjection().completed_jobs(job_ids)) == {
        "old-completed",
        "old-failed",
        "old-cancelled",
    }
    assert set(JobProjection().completed_jobs(["old-failed"])) == {"old-failed"}
    assert not JobProjection().completed_jobs([])
