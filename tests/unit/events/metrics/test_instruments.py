"""Instruments: sums, bounds, signal handlers, forks, and installations without the extra."""

import os
import subprocess
import sys
import textwrap
from threading import Thread

import pytest

from events.exceptions import ProducerFenced
from events.metrics import render
from events.metrics.instruments import (
    INSTRUMENTS,
    MAX_LABEL_SETS,
    PUBLISHED,
    Counts,
    Definition,
    HistogramInstrument,
    Instrument,
    error_label,
)
from tests.support.metrics import exposed, increase, value_of
from tests.support.site import ROOT


def run(script, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


@pytest.fixture
def counter():
    definition = Definition("counter", "job_events_test_counter", "For a test.", {"label": ()})
    counter = Instrument(definition)
    yield counter
    if counter._family is not None:
        from events.metrics.instruments import registry

        registry.unregister(counter._family)


def test_updates_of_threads_are_summed():
    published = increase("published_events_total", publisher="sync")

    def publish():
        for _ in range(10_000):
            PUBLISHED.add(2, "sync")

    threads = [Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert published() == 80_000


def test_label_sets_are_bounded(counter):
    for number in range(MAX_LABEL_SETS + 500):
        counter.add(1, f"job-{number}")
    assert exposed("test_counter_total", label="other") == 500
    assert exposed("test_counter_total") == MAX_LABEL_SETS + 500
    assert len(counter.all_series()) == MAX_LABEL_SETS + 1


def test_labels_are_bounded_text(counter):
    for _ in range(2):
        counter.add(1, 'a\n"\ud800' + "b" * 200_000)
    assert len(counter.all_series()) == 1
    text, _content_type = render(with_collectors=False)
    assert len(text) < 100_000
    assert b'label="a\\n\\"?bbb' in text
    assert exposed("test_counter_total") == 2


def test_known_label_sets_exist_before_the_first_update():
    for name, instrument in INSTRUMENTS.items():
        if all(instrument.definition.labels.values()):
            exposed(name.removeprefix("job_events_"))
            assert instrument.all_series()


def test_histogram_of_counts():
    histogram = INSTRUMENTS["job_events_delivery_lag_seconds"]
    assert isinstance(histogram, HistogramInstrument)
    fast = increase("delivery_lag_seconds_bucket", le="0.01")
    slow = increase("delivery_lag_seconds_bucket", le="30.0")
    every = increase("delivery_lag_seconds_count")
    total = increase("delivery_lag_seconds_sum")
    counts = Counts()
    for value in (0.01, 0.011, 3.0, 1000.0):
        counts.observe(value)
    histogram.add_counts(counts)
    assert (fast(), slow(), every()) == (1, 3, 4)
    assert total() == pytest.approx(1003.021)


def test_label_of_an_error_is_a_class_of_events():
    assert error_label(ProducerFenced()) == "ProducerFenced"
    assert error_label(type("Anything", (Exception,), {})()) == "other"


def test_no_label_is_a_job():
    labels = {label for each in INSTRUMENTS.values() for label in each.definition.labels}
    assert not labels & {"job_id", "job", "external_id", "user"}


def test_updates_in_signal_handlers():
    """A handler interrupts updates, and the exposition, in the same thread."""
    script = """
        import signal
        from events.metrics import render
        from events.metrics.instruments import PUBLISHED
        calls = []
        def handle(*_):
            calls.append(1)
            PUBLISHED.add(1, "async")
        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        while len(calls) < 2000:
            PUBLISHED.add(1, "sync")
            if len(calls) % 50 == 0:
                render()
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(render()[0].decode(), "\\n#", len(calls))
    """
    text, _, calls = run(script).rpartition("#")
    assert value_of(text, "published_events_total", publisher="async") == int(calls)


FORKS = """
    import os
    from threading import Event, Thread
    from time import sleep
    from events.metrics import instruments, render
    from events.metrics.instruments import PUBLISHED, flush
    done = Event()
    def work():
        while not done.is_set():
            PUBLISHED.add(1, "async")
            flush()
    threads = [Thread(target=work) for _ in range(2)]
    for thread in threads: thread.start()
    children = []
    for _ in range(100):
        pid = os.fork()
        if pid == 0:
            for _ in range(10): PUBLISHED.add(1, "sync")
            while instruments._queued(): sleep(0.01)  # a thread of the child applies them
            with instruments._lock: pass
            os._exit(0)
        children.append(pid)
    done.set()
    for thread in threads: thread.join()
    print([os.waitpid(pid, 0)[1] for pid in children].count(0))
    print(render()[0].decode())
"""


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Python warns of a fork with threads")
def test_forks_while_threads_update(tmp_path):
    output = run(FORKS, PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "metrics"))
    ended, _, text = output.partition("\n")
    assert ended == "100"
    assert value_of(text, "published_events_total", publisher="sync") == 1000
    assert value_of(text, "published_events_total", publisher="async") > 0


def test_gauges_of_ended_processes_do_not_count(tmp_path):
    script = """
        import os
        from events.metrics import render
        from events.metrics.instruments import SUBSCRIBERS, PUBLISHED, flush
        SUBSCRIBERS.add(3, "sse"); PUBLISHED.add(5, "sync"); flush()
        print(render()[0].decode())
        os._exit(0)  # like a process that is killed
    """
    directory = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    assert value_of(run(script.replace("os._exit(0)", ""), **directory), "subscribers") == 3
    text = run(script, **directory)
    assert value_of(text, "subscribers") == 3
    assert value_of(text, "published_events_total") == 10


def test_files_that_cannot_be_written_do_not_fail_the_caller():
    script = """
        import logging
        from events.metrics.instruments import DELIVERY_LAG, PUBLISHED, Counts, flush
        lines = []
        logging.getLogger("events").addHandler(logging.Handler())
        logging.Handler.emit = lambda self, record: lines.append(record.getMessage())
        counts = Counts()
        counts.observe(1)
        for _ in range(3):
            PUBLISHED.add(1, "sync"); flush(); DELIVERY_LAG.add_counts(counts)
        print(lines)
    """
    assert run(script, PROMETHEUS_MULTIPROC_DIR="/proc/none") == "['metrics_not_updated']\n"


# Makes the import of the package fail, as if it were not installed.
WITHOUT_EXTRA = """
    import sys
    sys.modules["prometheus_client"] = None
"""


def test_without_the_extra():
    script = (
        WITHOUT_EXTRA
        + """
    from events.metrics import is_available
    from events.metrics.instruments import DELIVERY_LAG, INSTRUMENTS, Counts
    import events.producer.sender, events.metrics.server
    for instrument in INSTRUMENTS.values():
        instrument.add(1, *instrument.definition.labels)
    counts = Counts()
    counts.observe(1)
    DELIVERY_LAG.add_counts(counts)
    print(is_available(), [name for name in sys.modules if name.startswith("prometheus")])
    """
    )
    assert run(script) == "False ['prometheus_client']\n"
