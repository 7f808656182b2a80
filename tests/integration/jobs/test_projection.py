"""Projection: batches of events, and the rows that result."""

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from django.db import connection, transaction
from django.utils import timezone

from events.archive import projections
from events.codec import MAX_EVENT_BYTES, decode_entry
from jobs import services, signals
from jobs.models import Job
from jobs.projection import COMPLETION_GRACE, JobProjection
from tests.integration.jobs.conftest import locked_elsewhere

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

TIME = "2026-01-02T03:04:05+00:00"
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Log:
    """Creates events of one job with increasing ids."""

    def __init__(self, job_id="abc"):
        self.job_id = job_id
        self.count = 0

    def event(self, event_type, *, producer="", timestamp=TIME, **data):
        self.count += 1
        data = {"event_type": event_type, "timestamp": timestamp, **data}
        fields = {b"data": orjson.dumps(data), b"event_type": event_type.encode()}
        event = decode_entry(self.job_id, f"{self.count}-0", fields)
        return event._replace(producer=producer)

    def raw(self, event_type, raw):
        """Create an event with these bytes as data."""
        self.count += 1
        fields = {b"data": raw, b"event_type": event_type.encode(), b"timestamp": TIME.encode()}
        return decode_entry(self.job_id, f"{self.count}-0", fields)

    def step(self, event_type, attempt, **data):
        """Create an event of a service."""
        producer = f"outbox:{attempt}:{self.count + 1}"
        return self.event(event_type, producer=producer, attempt=attempt, **data)


@pytest.fixture
def log():
    return Log()


def apply(*events):
    by_job = {}
    for event in events:
        by_job.setdefault(event.job_id, []).append(event)
    with transaction.atomic():
        assert not list(JobProjection().lock(by_job))
        JobProjection().apply(by_job)


def started(*job_ids):
    return {job_id: [Log().event("task_started")] for job_id in job_ids}


def create(status="pending", **fields):
    """Create a job of this status without events."""
    more = {}
    if status in Job.TERMINAL_STATUSES:
        more["finished_at"] = timezone.now()
    return Job.objects.create(**{"job_id": "abc", "status": status, **more, **fields})


def row(job_id="abc"):
    return Job.objects.get(job_id=job_id)


OF_LOG = ("first_event_at", "last_event_at", "event_count", "phase", "usage")


def values(job_id="abc"):
    """Return the columns, without those that describe the log and change with each event."""
    columns = Job.objects.filter(job_id=job_id).values().get()
    return {name: value for name, value in columns.items() if name not in OF_LOG}


def test_projection_is_registered_once():
    assert [type(projection) for projection in projections].count(JobProjection) == 1


# Event types


def test_completed_job_of_a_worker_without_a_database(log):
    create()
    apply(log.event("task_started", timestamp="2026-01-02T03:00:00+00:00"))
    assert (row().status, row().started_at) == ("running", WHEN - timedelta(seconds=245))
    apply(log.event("task_progress", progress=40), log.event("task_progress", progress=62.5))
    assert (row().status, row().progress) == ("running", 62.5)
    apply(log.event("task_completed", result={"pages": [1, None, "ü"]}))
    job = row()
    assert (job.status, job.progress, job.result) == ("completed", 100.0, {"pages": [1, None, "ü"]})
    assert (job.started_at, job.finished_at) == (WHEN - timedelta(seconds=245), WHEN)
    assert job.error == ""


def test_completed_job_in_one_batch(log):
    create()
    apply(
        log.event("task_started"),
        log.event("thought", text="hm"),
        log.event("task_progress", progress=10),
        log.event("task_completed", result=5),
    )
    assert (row().status, row().progress, row().result) == ("completed", 100.0, 5)


def test_failure(log):
    create("running", progress=30, started_at=WHEN)
    apply(log.event("task_failed", error="no ink", timestamp="2026-01-02T03:05:05+00:00"))
    job = row()
    assert (job.status, job.error, job.progress) == ("failed", "no ink", 30)
    assert job.finished_at == WHEN + timedelta(seconds=60)
    assert job.result is None


@pytest.mark.parametrize("event_type", ["task_completed", "task_failed"])
def test_terminal_event_without_a_start(log, event_type):
    create()
    apply(log.event(event_type))
    assert row().started_at == row().finished_at == WHEN


def test_progress_starts_the_job(log):
    create()
    apply(log.event("task_progress", progress=7))
    assert (row().status, row().progress, row().started_at) == ("running", 7, WHEN)


@pytest.mark.parametrize("status", ["pending", "running"])
@pytest.mark.parametrize("event_type", ["thought", "done", "error", "job_cancelled", "unknown", ""])
def test_other_events_do_not_change_the_row(log, status, event_type):
    create(status)
    before = values()
    apply(log.event(event_type, job_status="completed", progress=50, attempt=1))
    assert values() == before


def test_events_of_jobs_without_a_row(log):
    create(job_id="other")
    apply(Log("missing").event("task_started"), Log("other").event("task_started"))
    assert row("other").status == "running"
    assert Job.objects.count() == 1


# Jobs with several tasks


@pytest.mark.parametrize("event_type", ["task_completed", "task_failed"])
def test_end_of_one_of_several_tasks(log, event_type):
    create("running", started_at=WHEN)
    apply(log.event(event_type, job_status="running", progress=40, result=1, error="x"))
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
def test_job_status_overrides_the_event_type(log, event_type, job_status):
    create("running")
    apply(log.event(event_type, job_status=job_status))
    assert row().status == job_status
    assert row().finished_at == WHEN


@pytest.mark.parametrize("job_status", ["lost", "", "RUNNING", None, 5, True, [], {}, ["failed"]])
def test_invalid_job_status_is_ignored(log, job_status):
    create("running")
    apply(log.event("task_completed", job_status=job_status))
    assert row().status == "completed"


# Terminal and later states


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
@pytest.mark.parametrize(
    "event_type", ["task_started", "task_progress", "task_completed", "task_failed"]
)
def test_terminal_job_does_not_change(log, status, event_type):
    create(status, error="first", result=[1], progress=50)
    before = values()
    apply(log.event(event_type, progress=60, result=2, error="second", attempt=1))
    assert values() == before


def test_running_job_does_not_become_pending(log):
    create("running", started_at=WHEN)
    apply(log.event("task_progress", job_status="pending", progress=5))
    assert (row().status, row().started_at) == ("running", WHEN)


def test_pending_job_has_no_progress(log):
    create()
    before = values()
    apply(log.event("task_progress", job_status="pending", progress=5))
    assert values() == before


def test_second_start_keeps_the_start_time(log):
    create("running", started_at=WHEN)
    apply(log.event("task_started", timestamp="2026-01-03T00:00:00+00:00"))
    assert row().started_at == WHEN


def test_progress_does_not_decrease(log):
    create("running", progress=50)
    apply(log.event("task_progress", progress=49.9), log.event("task_progress", progress=50))
    assert row().progress == 50
    apply(log.event("task_progress", progress=70), log.event("task_progress", progress=60))
    assert row().progress == 70


def test_events_that_are_older_than_the_row(log, make_job):
    """A service has changed the row before the archiver reads these events."""
    job = make_job("running", job_id="abc")
    services.job_progress(job_id=job.job_id, progress=80)
    before = values()
    apply(log.event("task_started"), log.event("task_progress", progress=20))
    assert values() == before
    services.job_complete(job_id=job.job_id, result="of the service")
    before = values()
    apply(log.event("task_failed", error="of a worker"))
    assert values() == before


def test_applying_events_twice_changes_nothing(log):
    create()
    events = [
        log.step("job_created", 1),
        log.event("task_started", timestamp="not a time"),
        log.event("task_progress", progress=10),
        log.event("task_failed", error="boom", timestamp="not a time"),
    ]
    states = []
    for event in events:
        apply(event)
        apply(event)
        states.append(values())
        apply(*events[: len(states)])
        assert values() == states[-1]


# Attempts


def test_event_with_the_label_of_an_older_attempt(log):
    create(attempt=2, projected_attempt=2)
    before = values()
    apply(
        log.event("task_started", attempt=1),
        log.event("task_completed", producer="worker:1:7", result=1),
        log.event("task_failed", attempt=2, producer="worker:1:8"),
        log.event("task_failed", attempt=1, producer="worker:2:9"),
        log.event("task_failed", attempt=1.0),
        log.event("task_failed", attempt=3),
        log.event("task_failed", attempt=0),
        log.event("task_failed", attempt=-1),
        log.event("task_failed", attempt=1e300),
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
def test_event_with_the_label_of_this_attempt(log, label):
    """Even before `job_retried`, which was delayed by a Redis outage."""
    create(attempt=2, projected_attempt=1)
    apply(log.event("task_started", **label))
    assert row().status == "running"


@pytest.mark.parametrize("attempt", [None, "2", True, False, [], {}, "first"])
def test_invalid_attempt_is_ignored(log, attempt):
    create()
    apply(log.event("task_started", attempt=attempt))
    assert row().status == "running"


def test_event_without_a_label_is_of_the_projected_attempt(log):
    """The retry changed the row before the archiver read events of the old worker."""
    create(attempt=2)
    apply(
        log.step("job_created", 1),
        log.event("task_started", timestamp="2026-01-01T00:00:00+00:00"),
        log.step("job_cancelled", 1),
        log.event("task_completed", result="too late"),
    )
    assert (row().status, row().projected_attempt) == ("pending", 1)
    apply(log.step("job_retried", 2), log.event("task_started"))
    assert (row().status, row().projected_attempt, row().started_at) == ("running", 2, WHEN)


def test_projected_attempt_is_saved_between_batches(log):
    create(attempt=3)
    apply(log.step("job_retried", 2))
    apply(log.event("task_completed"))
    assert (row().status, row().projected_attempt) == ("pending", 2)
    apply(log.step("job_retried", 3))
    apply(log.event("task_completed"))
    assert (row().status, row().projected_attempt) == ("completed", 3)


def test_projected_attempt_of_a_terminal_job_advances(log):
    create("failed", attempt=2)
    apply(log.step("job_retried", 2), log.step("task_failed", 2))
    assert row().projected_attempt == 2


@pytest.mark.parametrize("attempt", [0, 3, 10**17])
def test_attempt_that_the_job_has_not_reached(log, attempt):
    """A transactional event of the project, or a log that is older than its job."""
    create(attempt=2, projected_attempt=2)
    apply(log.step("task_started", attempt))
    assert (row().status, row().projected_attempt) == ("pending", 2)


def test_events_of_services_do_not_change_the_row(log):
    create("running", progress=5)
    apply(log.step("task_progress", 1, progress=50), log.step("task_completed", 1, result=1))
    assert (row().status, row().progress) == ("running", 5)


@pytest.mark.parametrize(
    "producer", ["outbox", "outbox:", "outbox:1", "outbox:x:1", "outbox:1:1:1"]
)
def test_producers_with_a_similar_id_are_not_services(log, producer):
    create()
    apply(log.event("task_started", producer=producer))
    assert row().status == "running"


# Data of other producers

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
def test_unreadable_data_is_ignored(log, raw):
    create("running")
    before = values()
    apply(log.raw("task_completed", raw), log.raw("task_progress", raw))
    assert values() == before


@pytest.mark.parametrize(
    "progress",
    [
        b"-1", b"100.1", b"-0.5", b'"50"', b'"half"', b"true", b"null", b"[]", b"{}", b"9" * 30,
        b"1e308", b"[" * 900 + b"]" * 900,
    ],
    ids=range(12),
)  # fmt: skip
def test_event_with_invalid_progress_starts_the_job(log, progress):
    create()
    apply(log.raw("task_progress", b'{"progress": %s}' % progress))
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
def test_result_that_does_not_fit_the_row_is_discarded(log, caplog, result):
    create("running")
    apply(log.raw("task_completed", b'{"result": %s}' % result))
    assert (row().status, row().progress, row().result) == ("completed", 100, None)
    (record,) = [r for r in caplog.records if r.message == "job_result_discarded"]
    assert (record.job_id, record.event_id) == ("abc", "1-0")


@pytest.mark.parametrize(
    "result",
    [None, False, 0, "", [], {}, "text", [1, None], {"ü": "€😀"}, 1.5, 2**63, "x" * 100_000],
    ids=range(12),
)
def test_any_json_value_is_a_result(log, result):
    create("running")
    create("running", job_id="other")
    apply(log.event("task_completed", result=result), Log("other").event("task_completed"))
    assert row().result == result
    assert type(row().result) is type(result)
    assert row("other").result is None


def test_missing_result_is_sql_null(log):
    create("running")
    apply(log.event("task_completed", result=None))
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
def test_error(log, error, kept):
    create("running")
    apply(log.event("task_failed", error=error))
    assert (row().status, row().error) == ("failed", kept)


def test_deeply_nested_error(log):
    create("running")
    apply(log.raw("task_failed", b'{"error": %s}' % (b"[" * 900 + b"]" * 900)))
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
def test_timestamps(log, timestamp, expected):
    create()
    apply(log.event("task_started", timestamp=timestamp))
    assert row().started_at == expected


@pytest.mark.parametrize(
    "timestamp", ["9998-12-31T23:59:59+00:00", "9998-12-31T23:59:59", "9998-01-01T00:00:00-23:59"]
)
def test_timestamp_in_the_future_is_replaced_by_the_current_time(log, timestamp):
    """With a finish in the year 9998, subscribers would never receive the end."""
    create()
    apply(log.event("task_completed", timestamp=timestamp))
    for time in (row().started_at, row().finished_at):
        assert abs(timezone.now() - time) < timedelta(minutes=1)


def test_finish_before_the_start(log):
    later = timezone.now() + timedelta(hours=1)
    create("running", started_at=later)
    apply(log.event("task_completed"))
    assert row().finished_at == later
    create(job_id="other")
    log = Log("other")
    apply(
        log.event("task_started", timestamp="2026-01-02T00:00:00+00:00"),
        log.event("task_failed", timestamp="2026-01-01T00:00:00+00:00"),
    )
    assert row("other").started_at == row("other").finished_at


def test_invalid_events_between_valid_ones(log):
    create()
    apply(
        log.raw("task_started", b"{"),
        log.event("task_started", attempt="x", job_status=[]),
        log.raw("task_progress", DEEP),
        log.event("task_progress", progress={"per cent": 5}),
        log.event("task_progress", progress=5),
    )
    assert (row().status, row().progress) == ("running", 5)


# Signals


@pytest.fixture
def sent():
    """The signals that were sent: name, statuses, and the row at that time."""
    sent = []

    def changed(job, old_status, new_status, **_):
        sent.append((job.job_id, str(old_status), str(new_status), row(job.job_id).status))

    def progressed(job, **_):
        sent.append((job.job_id, job.progress))

    signals.job_status_changed.connect(changed)
    signals.job_progressed.connect(progressed)
    yield sent
    signals.job_status_changed.disconnect(changed)
    signals.job_progressed.disconnect(progressed)


def test_signals_are_sent_after_the_commit(log, sent):
    create()
    with transaction.atomic():
        JobProjection().apply({"abc": [log.event("task_started"), log.event("task_completed")]})
        assert sent == []
    assert sent == [
        ("abc", "pending", "running", "completed"),
        ("abc", "running", "completed", "completed"),
    ]


def test_progress_is_signalled_once_per_batch(log, sent):
    create("running")
    apply(*[log.event("task_progress", progress=n) for n in range(50)])
    assert sent == [("abc", 49)]


def test_no_signal_without_a_change(log, sent):
    create("running", progress=50)
    apply(log.event("task_progress", progress=10), log.event("task_started"))
    apply(log.step("task_completed", 1))
    assert sent == []


def test_rollback_sends_no_signals(log, sent):
    create()
    with transaction.atomic():
        JobProjection().apply({"abc": [log.event("task_started")]})
        transaction.set_rollback(True)
    assert (sent, row().status) == ([], "pending")


def test_exception_of_a_receiver_is_logged(log, sent):
    def fail(**_):
        raise RuntimeError("error in a receiver")

    create()
    create(job_id="other")
    signals.job_status_changed.connect(fail)
    try:
        apply(log.event("task_started"), Log("other").event("task_started"))
    finally:
        signals.job_status_changed.disconnect(fail)
    assert {signal[0] for signal in sent} == {"abc", "other"}


def test_receiver_may_read_deferred_fields(log):
    seen = []

    def receiver(job, **_):
        seen.append((job.payload, job.result))

    create(payload={"a": 1})
    signals.job_status_changed.connect(receiver)
    try:
        apply(log.event("task_started"), log.event("task_completed", result=[2]))
    finally:
        signals.job_status_changed.disconnect(receiver)
    assert seen == [({"a": 1}, [2])] * 2


# Query counts


def completed_logs(job_ids, *, tokens=5):
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


def test_number_of_queries_of_a_batch_is_constant(django_assert_max_num_queries):
    job_ids = [f"job-{n}" for n in range(300)]
    Job.objects.bulk_create([Job(job_id=job_id) for job_id in job_ids])
    events = list(completed_logs(job_ids))
    with django_assert_max_num_queries(20):
        apply(*events)
    assert set(Job.objects.values_list("status", "progress")) == {("completed", 100.0)}
    assert row("job-7").result == {"of": "job-7"}


def test_other_events_cost_one_read_and_one_update(log, django_assert_max_num_queries):
    create("running")
    create("pending", job_id="job-2")
    tokens = [log.event("thought", text="token") for _ in range(1000)]
    with transaction.atomic(), django_assert_max_num_queries(3) as captured:
        JobProjection().apply({"abc": tokens, "job-2": tokens, "other": []})
    updates = [sql for sql in queries(captured.captured_queries) if "FOR UPDATE" not in sql]
    assert updates[-1].startswith("2 times: UPDATE")
    assert sum("UPDATE" in sql for sql in updates) == 1


# Columns that describe the log


def time(second):
    return WHEN.replace(second=second)


def at(second):
    return time(second).isoformat()


def of_log(job_id="abc"):
    return tuple(getattr(row(job_id), name) for name in OF_LOG)


def test_first_and_last_event_and_their_number(log):
    create()
    assert of_log() == (None, None, 0, "", {})
    first, *others = (log.event("thought", timestamp=at(second)) for second in range(1, 6))
    apply(first)
    assert of_log()[:3] == (time(1), time(1), 1)
    apply(*others)
    assert of_log()[:3] == (time(1), time(5), 5)


def test_events_after_the_end_are_counted(log):
    create("completed")
    apply(log.event("thought", timestamp=at(1)), log.event("done", timestamp=at(2)))
    assert of_log()[1:3] == (time(2), 2)


@pytest.mark.parametrize("nested", [True, False])
def test_latest_phase(log, nested):
    create("running")
    for phase in ("plan", "x" * 300 + "\0", "write\0"):
        data = {"data": {"phase": phase}} if nested else {"phase": phase}
        apply(log.event("phase_update", **data))
        assert of_log()[3] == phase.replace("\0", "\ufffd")[:200]


@pytest.mark.parametrize("data", [{}, {"phase": 1}, {"data": [1]}, {"data": {"phase": None}}])
def test_phase_that_is_no_text_is_ignored(log, data):
    create("running")
    apply(log.event("phase_update", phase="plan"))
    apply(log.event("phase_update", **data))
    assert of_log()[3] == "plan"


def test_retry_has_no_phase_and_ignores_that_of_the_former_attempt(log):
    services.job_create(job_id="abc", task_type="manual")
    services.job_fail(job_id="abc", error="boom")
    apply(log.event("phase_update", phase="plan", attempt=1))
    assert row().phase == "plan"
    services.job_retry(job_id="abc")
    for attempt, phase in ((1, ""), (2, "write")):
        apply(log.event("phase_update", phase="write", attempt=attempt))
        assert row().phase == phase


# Attempts


def test_attempt_follows_the_log(log):
    create()
    apply(log.event("task_started", timestamp=at(1)))
    attempt = row().attempts.get()
    assert (attempt.number, attempt.status, attempt.started_at) == (1, "running", time(1))
    assert attempt.finished_at is None
    apply(log.event("task_failed", error="boom", reason="terminated", timestamp=at(2)))
    attempt.refresh_from_db()
    assert (attempt.status, attempt.error, attempt.reason) == ("failed", "boom", "terminated")
    assert attempt.finished_at == time(2)


def test_payload_and_result_are_not_loaded(log, django_assert_max_num_queries):
    create("running", payload={"large": "x" * 1000})
    with django_assert_max_num_queries(10) as captured:
        apply(log.event("task_completed", result=1))
    assert not any("payload" in sql for sql in queries(captured.captured_queries))


# Locks


def test_lock_locks_rows(log):
    create()
    with transaction.atomic():
        assert list(JobProjection().lock(started("abc", "missing"))) == []


def test_lock_returns_rows_that_others_have_locked():
    create()
    create(job_id="free")
    if connection.vendor == "sqlite":  # one lock for all rows
        assert not JobProjection().lock(started("abc", "free"))
        return
    with locked_elsewhere(), transaction.atomic():
        assert set(JobProjection().lock(started("abc", "free", "missing"))) == {"abc"}
        tokens = {"abc": [Log().event("thought", text="hm")]}
        assert set(JobProjection().lock(tokens)) == {"abc"}  # they are counted
        JobProjection().apply({"abc": [Log().event("task_started")]})
    assert row().status == "pending"
    with transaction.atomic():
        assert not list(JobProjection().lock(started("abc", "free")))


# Completed jobs


def test_completed_jobs_after_the_grace_period():
    now = timezone.now()
    for status in Job.TERMINAL_STATUSES:
        create(status, job_id=f"old-{status}", finished_at=now - COMPLETION_GRACE)
        create(status, job_id=f"new-{status}", finished_at=now)
    create(job_id="pending")
    create("running", job_id="running")
    job_ids = [*Job.objects.values_list("job_id", flat=True), "missing"]
    assert set(JobProjection().completed_jobs(job_ids)) == {
        "old-completed",
        "old-failed",
        "old-cancelled",
    }
    assert set(JobProjection().completed_jobs(["old-failed"])) == {"old-failed"}
    assert not JobProjection().completed_jobs([])


# Columns that describe the log


def test_first_event_is_the_first_of_the_work(log):
    create()
    apply(log.event("job_created"), log.event("task_started"))
    assert row().first_event_at is None
    assert row().last_event_at == WHEN
    apply(log.event("task_progress"), log.event("thought"))
    assert row().first_event_at == WHEN


def model_result(log, model, **usage):
    return log.event("model_result", data={"model": model, "usage": usage, "run_id": "1"})


def test_usage_is_counted_by_model(log):
    create("running")
    apply(
        model_result(log, "a", input_tokens=5, output_tokens=2),
        model_result(log, "b", input_tokens=1),
    )
    flat = log.event("model_result", model="a", usage={"input_tokens": 5, "output_tokens": "many"})
    apply(flat, log.event("model_result"))
    assert row().usage == {
        "a": {"calls": 2, "input_tokens": 10, "output_tokens": 2},
        "b": {"calls": 1, "input_tokens": 1, "output_tokens": 0},
        "other": {"calls": 1, "input_tokens": 0, "output_tokens": 0},
    }


def test_usage_of_many_models_is_limited(log):
    create("completed")  # counts after the end, too
    apply(*[model_result(log, f"model-{number}\0", input_tokens=1) for number in range(30)])
    usage = row().usage
    assert len(usage) == 21
    assert usage["other"]["calls"] == 10
