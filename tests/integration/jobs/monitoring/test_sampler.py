"""Sampler: exact figures with several processors, killed processors, late rows and pauses."""

import json
import os
import signal
import threading
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone

from events.archive.projections import projections
from events.publisher import get_publisher
from jobs import services
from jobs.models import InputRequest, Job, MonitorCheckpoint, Sample
from jobs.monitoring import sampler
from jobs.monitoring.figures import FROM_ROWS, GAUGES
from jobs.monitoring.sampler import ArchivedEventCounter, Sampler
from jobs.monitoring.samples import PERIODS
from tests.integration.jobs.conftest import archived
from tests.integration.jobs.monitoring.conftest import NOW, ended_job, event
from tests.support.database import failing_database

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

MINUTE = timedelta(minutes=1)
# The latest complete minute.
LATEST = NOW.replace(second=0) - MINUTE


@pytest.fixture(autouse=True)
def _clock(clock):
    pass


def run(processor=None):
    """Run steps of a processor until it has nothing to do; return the minutes of each."""
    processor = processor or Sampler(ArchivedEventCounter(), single_pass=True)
    steps = []
    while minutes := processor.step():
        steps.append(minutes)
    return steps


def start_at(time):
    MonitorCheckpoint.objects.create(name="samples", at=time)


def samples(name, seconds=60):
    """Return the values of a figure by time."""
    rows = Sample.objects.filter(name=name, seconds=seconds)
    return dict(rows.values_list("at", "value"))


def total(name, seconds=60):
    return sum(samples(name, seconds).values())


def completed(seconds=60):
    """Return the completed attempts of the type `report` by time, without 0."""
    found = samples("attempts_ended", seconds).items()
    return {at: value["report"]["completed"] for at, value in found}


def test_figures_of_a_minute(settings):
    settings.JOB_EVENTS = {
        **settings.JOB_EVENTS,
        "MODEL_PRICES": {"gpt": {"input": 1_000_000, "output": 0}},
    }
    start_at(LATEST)
    job = ended_job(LATEST, job_id="one")
    ended_job(LATEST + timedelta(seconds=59.9), status="failed")
    ended_job(LATEST + MINUTE)  # in the next minute
    pending = Job.objects.create(task_type="waiting")
    InputRequest.objects.create(job=pending, attempt=1, name="q", prompt="?")
    usage = {"usage": {"input_tokens": 3, "output_tokens": 2}, "model": "gpt-5"}
    call = json.dumps({"event_type": "model_result", "data": usage})
    for number, at in enumerate([LATEST, LATEST, LATEST + timedelta(seconds=59.999)]):
        event(job.job_id, at, number=number, event_type="model_result", data=call)
    event("unknown-job", LATEST, event_type="model_result", data=call)
    event(job.job_id, LATEST + MINUTE)
    assert run() == [1]
    found = dict(Sample.objects.filter(at=LATEST, seconds=60).values_list("name", "value"))
    assert found["events_appended"] == 4
    assert found["attempts_ended"] == {"report": {"completed": 1, "failed": 1}}
    assert found["failures"] == {"error": 1}
    assert found["tokens"] == {
        "report": {"input": 9, "output": 6}, "unknown": {"input": 3, "output": 2},
    }  # fmt: skip
    assert found["cost"] == {"report": 9.0, "unknown": 3.0}
    assert (found["jobs_pending"], found["jobs_running"], found["inputs_pending"]) == (1, 0, 1)
    assert {"processors", "outbox_depth", "archive_behind", "redis_used"} <= found.keys()
    assert sum(found["duration"]["report"].values()) == 2
    assert Sample.objects.filter(at=LATEST - MINUTE, name="jobs_created").exists()


def test_a_period_is_not_written_before_it_is_over(clock):
    start_at(LATEST)
    run()
    assert run() == []
    clock.advance(seconds=31)  # a second after the end of the minute
    assert run() == []
    clock.advance(seconds=1)
    assert run() == [1]
    assert max(samples("events_appended")) == LATEST + MINUTE


def test_samples_begin_with_the_first_job_and_at_most_a_day_before():
    assert run() == []
    MonitorCheckpoint.objects.all().delete()
    ended_job(LATEST)  # created 70 seconds before
    assert run()[0] == 3
    MonitorCheckpoint.objects.all().delete()
    Sample.objects.all().delete()
    ended_job(NOW - timedelta(days=30))
    run()
    assert min(samples("events_appended")) == LATEST + MINUTE - sampler.MAX_PAUSE - sampler.LATE


def test_a_retry_does_not_change_history(clock):
    job = services.job_create(task_type="report")
    services.job_start(job_id=job.job_id)
    job = services.job_fail(job_id=job.job_id, error="boom")
    clock.now = job.finished_at + 2 * MINUTE
    run()
    first = dict(samples("attempts_ended"))
    assert list(first.values()) == [{"report": {"failed": 1}}]
    services.job_retry(job_id=job.job_id, dispatch=False)
    services.job_start(job_id=job.job_id)
    services.job_complete(job_id=job.job_id)
    job.attempts.filter(number=2).update(finished_at=clock.now)
    clock.advance(minutes=2)
    run()
    assert first.items() < samples("attempts_ended").items()
    assert sum(map(len, samples("attempts_ended").values())) == 2


def test_late_rows_count(clock):
    start_at(LATEST - timedelta(minutes=30))
    run()
    late = LATEST - timedelta(minutes=2)
    ended_job(late)
    event("abc", late)
    clock.advance(minutes=1)
    assert run() == [1]
    assert completed() == {late: 1}
    assert samples("events_appended")[late] == 1
    assert late.minute == 27  # of a period of 10 minutes that is not over
    clock.advance(minutes=3)
    run()
    assert completed(600) == {late.replace(minute=20): 1}
    ended_job(LATEST)  # in a period of 10 minutes that is over
    clock.advance(minutes=1)
    run()
    assert completed(600) == {late.replace(minute=20): 2}
    ended_job(LATEST)
    clock.advance(minutes=10)
    run()
    assert completed(600) == {late.replace(minute=20): 2}  # too late


def test_the_row_of_a_figure_that_is_now_0_is_deleted(clock):
    start_at(LATEST - MINUTE)
    job = ended_job(LATEST)
    run()
    assert completed() == {LATEST: 1}
    job.delete()
    clock.advance(minutes=1)
    run()
    assert completed() == {}
    assert samples("processors").keys() >= {LATEST}


def test_a_pause_is_made_up_for_in_steps(clock):
    start_at(LATEST)
    run()
    for hours in range(1, 30):
        ended_job(LATEST + timedelta(hours=hours))
    clock.advance(hours=30)
    steps = run()
    assert sum(steps) == 24 * 60 + 24 * 60 - 5  # the archive may have been behind
    assert max(steps) == 10
    assert len(completed()) == 24
    assert list(completed(3600).values()) == [1] * 24
    ends = samples("processors")
    assert set(ends) == {LATEST, LATEST + timedelta(hours=30)}  # gauges are not made up


@pytest.fixture
def archive(monkeypatch):
    """Lets the archive be behind by `age` seconds, and archives `late` events when it is read."""

    class Archive:
        age = 0.0
        late = ()

        def read_gauges(self):
            for number, at in enumerate(self.late):
                event("late", at, number=number)
                ended_job(at)
            self.late = ()
            return {} if self.age is None else {"archive_age": self.age}

    found = Archive()
    monkeypatch.setattr(sampler, "read_gauges", found.read_gauges)
    return found


def test_events_are_archived_after_a_pause(clock, archive):
    """The archiver makes up for the pause while the minutes of the pause are computed."""
    start_at(LATEST)
    run()
    clock.advance(hours=2)
    late = [LATEST + timedelta(minutes=minutes) for minutes in range(1, 120)]
    archive.late = late
    run()
    clock.advance(minutes=1)
    assert run() == [1]
    assert samples("events_appended").items() >= dict.fromkeys(late, 1).items()
    assert completed() == dict.fromkeys(late, 1)
    assert completed(3600)[NOW.replace(hour=13, minute=0, second=0)] == 60
    assert not MonitorCheckpoint.objects.filter(name=sampler.LATE_CHECKPOINT).exists()


def test_events_are_archived_when_the_archive_is_no_longer_behind(clock, archive):
    start_at(LATEST)
    run()
    late = LATEST - timedelta(minutes=20)
    Sample.objects.create(name="events_appended", at=LATEST - 60 * MINUTE, seconds=60, value=0)
    for minutes in range(1, 20):
        archive.age = 1200.0 + 60 * minutes
        clock.advance(minutes=1)
        assert run() == [1]
    archive.late, archive.age = [late], 299.0
    clock.advance(minutes=1)
    assert sum(run()) > 20
    assert completed() == {late: 1}
    assert completed(600) == {late.replace(minute=0): 1}
    clock.advance(minutes=1)
    assert run() == [1]


def test_unknown_lag_of_the_archive_is_not_made_up_for(clock, archive):
    """While Redis does not answer."""
    start_at(LATEST)
    run()
    archive.age = None
    for _ in range(10):
        clock.advance(minutes=1)
        assert run() == [1]


def test_longer_periods_are_merged_from_shorter_ones(clock):
    start_at(LATEST)
    for minutes in range(120):
        ended_job(LATEST + timedelta(minutes=minutes))
    for _ in range(24):
        clock.advance(minutes=5)
        run()
    for name in ("attempts_ended", "jobs_created", "duration"):
        of_hour = samples(name, 3600)[NOW.replace(hour=13, minute=0, second=0)]
        assert sum(sampler_total(of_hour)) == 60
    assert completed(600)[NOW.replace(hour=13, minute=10, second=0)] == 10
    assert samples("events_appended", 3600)[NOW.replace(hour=13, minute=0, second=0)] == 0
    latest = max(samples("processors", 600))
    assert latest == NOW.replace(hour=14, minute=20, second=0)


def sampler_total(value):
    for each in value.values():
        yield from sampler_total(each) if isinstance(each, dict) else [each]


def test_two_processors_write_each_minute_once(clock, monkeypatch):
    """Both compute the same minutes before one of them writes."""
    start_at(LATEST - timedelta(minutes=5))
    ended_job(LATEST)
    barrier, advance, results = threading.Barrier(2), sampler._advance, []

    def advance_together(*arguments):
        results.append(advance(*arguments))
        return results[-1]

    figures_from_rows = sampler.figures_from_rows

    def compute_together(*arguments):
        found = figures_from_rows(*arguments)
        barrier.wait(20)
        return found

    monkeypatch.setattr(sampler, "_advance", advance_together)
    monkeypatch.setattr(sampler, "figures_from_rows", compute_together)
    minutes = []

    def process():
        counter = ArchivedEventCounter()
        processor = Sampler(counter)
        counter.count = 7
        minutes.append(processor.step())
        connections.close_all()

    threads = [threading.Thread(target=process) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(results) == [False, True]
    assert sorted(minutes) == [0, 6]
    assert completed() == {LATEST: 1}
    assert total("events_archived") == 14  # of both


@pytest.mark.parametrize("function", ["_advance", "write_samples", "delete_old_samples"])
def test_a_processor_is_killed(function, clock, monkeypatch):
    """What it wrote is rolled back or complete; another processor continues."""
    start_at(LATEST - timedelta(minutes=5))
    ended_job(LATEST)
    connections.close_all()
    pid = os.fork()
    if pid == 0:
        called = getattr(sampler, function)

        def killed(*arguments):
            called(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)

        monkeypatch.setattr(sampler, function, killed)
        Sampler(ArchivedEventCounter()).step()
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    is_complete = function == "delete_old_samples"
    assert Sample.objects.exists() == is_complete
    assert sum(run()) == (0 if is_complete else 6)
    assert completed() == {LATEST: 1}
    assert len(samples("events_appended")) == 11
    assert Sample.objects.filter(name__in=GAUGES, at=LATEST).exists()


def test_a_database_that_fails_meanwhile(clock):
    """The step raises, and the next one writes the same."""
    start_at(LATEST - timedelta(minutes=5))
    ended_job(LATEST)
    counter = ArchivedEventCounter()
    processor = Sampler(counter)
    counter.count = 3
    with (
        failing_database(applies=lambda sql: "INSERT" in sql and "_sample" in sql),
        pytest.raises(OperationalError),
    ):
        processor.step()
    assert not Sample.objects.exists()
    assert processor.step() == 6
    assert completed() == {LATEST: 1}
    assert total("events_archived") == 3


def test_unknown_gauges_are_omitted(redis_down):
    start_at(LATEST)
    assert run() == [1]
    names = set(Sample.objects.filter(at=LATEST).values_list("name", flat=True))
    unknown = {"archive_behind", "archive_age", "streams", "redis_used", "redis_limit"}
    assert names & {*GAUGES} == {*GAUGES} - unknown
    assert names & {*FROM_ROWS} == {"events_appended"}


def test_the_clock_is_turned_back(clock):
    start_at(LATEST)
    run()
    clock.advance(hours=3)
    ended_job(LATEST + timedelta(hours=2))  # by the clock that was ahead
    ended_job(LATEST)
    run()
    assert max(samples("events_appended")) == LATEST + timedelta(hours=3)
    clock.now = NOW
    assert run() == []
    assert max(samples("events_appended")) == LATEST
    assert max(samples("events_appended", 600)) < LATEST
    clock.advance(minutes=2)
    assert run() == [2]
    assert completed() == {LATEST: 1}
    assert max(samples("processors")) == LATEST + timedelta(minutes=2)


def test_a_small_correction_of_the_clock_changes_nothing(clock):
    start_at(LATEST)
    run()
    clock.advance(seconds=-45)
    assert run() == []
    assert samples("events_appended").keys() >= {LATEST}
    clock.advance(seconds=80)
    assert run() == [1]


def test_archived_events_are_counted_when_they_are_committed(clock):
    """Each event counts once, in the processor that archived it."""
    counter = next(each for each in projections if isinstance(each, ArchivedEventCounter))
    processor = Sampler(counter)
    publisher = get_publisher()
    for number in range(3):
        publisher.publish_event("abc", {"event_type": "thought", "n": number})
    archived()
    processor.step()
    assert samples("events_archived") == {NOW.replace(second=0): 3}
    with transaction.atomic():
        counter.apply({"abc": [None, None]})
        transaction.set_rollback(True)
    clock.advance(seconds=10)
    processor._due_at = 0
    processor.step()
    assert total("events_archived") == 3
    publisher.publish_event("abc", {"event_type": "thought"})
    archived()
    clock.advance(minutes=3)
    processor._due_at = 0
    processor.step()
    assert samples("events_archived") == {
        NOW.replace(second=0): 3, NOW.replace(second=0) + 3 * MINUTE: 1,
    }  # fmt: skip


def test_old_samples_are_deleted(settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "SAMPLE_DAYS": 2}
    for seconds in PERIODS:
        for days in (1.9, 2.1, 30):
            at = NOW - timedelta(days=days)
            Sample.objects.create(name="streams", at=at, seconds=seconds, value=1)
    start_at(LATEST)
    run()
    old = Sample.objects.filter(name="streams", at__lt=NOW - timedelta(days=1))
    assert sorted(old.values_list("seconds", flat=True)) == [60, 600, 3600]


def test_a_single_pass_samples(clock, capsys):
    start_at(LATEST)
    call_command("process_events", once=True)
    assert samples("events_appended").keys() >= {LATEST}


def test_a_step_that_has_nothing_to_do_waits():
    start_at(LATEST)
    processor = Sampler(ArchivedEventCounter())
    assert processor.step() == 1
    assert processor.step() == 0
    with failing_database():
        assert processor.step() == 0  # no query


def test_naive_times(settings, clock):
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Kolkata"
    timezone.get_default_timezone.cache_clear()
    connection.close()
    try:
        local = timezone.make_naive(LATEST, timezone.get_default_timezone())
        start_at(local - MINUTE)
        ended_job(local)
        clock.now = NOW
        assert run() == [2]
        assert completed() == {local: 1}
    finally:
        timezone.get_default_timezone.cache_clear()
        connection.close()
