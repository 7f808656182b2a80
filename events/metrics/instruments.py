"""Instruments: counters, gauges and histograms of this process.

An update costs some 0.1 microseconds: it is queued, and a thread that lives while there are updates
applies the sums. The locks of prometheus_client are not reentrant, and are held by that
thread and the exposition only: an update in a signal handler or a finalizer never waits for one.
"""

import _thread
import atexit
import logging
import os
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from threading import Lock
from time import sleep
from typing import Any, Final, NamedTuple

try:
    import prometheus_client
except ImportError:  # the extra `metrics` is not installed
    IS_INSTALLED = False
else:
    IS_INSTALLED = True

logger = logging.getLogger(__name__)

# Of one instrument in one process. Each costs memory here and in Prometheus for as long as it runs.
MAX_LABEL_SETS: Final = 200
MAX_LABEL_CHARACTERS: Final = 128
OTHER: Final = "other"
PREFIX: Final = "job_events_"
MAX_QUEUED_UPDATES: Final = 100_000
FLUSH_SECONDS: Final = 0.1
LAG_BOUNDS_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_FORK_WAIT_SECONDS: Final = 1.0


def multiprocess_directory() -> Path | None:
    """Return the directory in which prometheus_client keeps the values of each process."""
    path = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(path) if path else None


class Definition(NamedTuple):
    """Name, kind and meaning of a metric; `labels` has the values of each label, if they are known.

    A counter has no suffix `_total` here.
    """

    kind: str  # counter, gauge or histogram
    name: str
    description: str
    labels: Mapping[str, Sequence[str]] = {}


_instruments: Final = list["Instrument"]()


class Counts:
    """Observations of a histogram that are counted without a lock, in one thread."""

    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.buckets = [0] * (len(LAG_BOUNDS_SECONDS) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.buckets[bisect_left(LAG_BOUNDS_SECONDS, value)] += 1
        self.total += value


class Series:
    """The value of an instrument with certain labels."""

    __slots__ = ("_child", "_instrument", "_label_values", "queue")

    def __init__(self, instrument: "Instrument", label_values: tuple[str, ...]) -> None:
        self._instrument, self._label_values = instrument, label_values
        self._child: Any = None
        # Appending is atomic: the amounts that threads and signal handlers add.
        self.queue = deque[float](maxlen=MAX_QUEUED_UPDATES)

    def add(self, amount: float = 1) -> None:
        """Add to a counter or gauge. Safe in signal handlers; never raises."""
        if IS_INSTALLED:
            self.queue.append(amount)
            if not _State.is_flushing:
                _start_flushing()

    def apply(self) -> None:
        """Apply the queued amounts."""
        total, queue = 0.0, self.queue
        while queue:
            total += queue.popleft()
        self.child().inc(total)

    def child(self) -> Any:
        """Return the metric of prometheus_client."""
        if self._child is None:
            family = self._instrument.family()
            values = self._label_values
            self._child = family.labels(*values) if values else family
        return self._child


class Instrument:
    """A metric that this process updates."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self._family: Any = None
        self._series: dict[tuple[str, ...], Series] = {}
        _instruments.append(self)

    def series(self, *label_values: str) -> Series:
        """Return the series with these labels; the one for other labels if there are too many."""
        found = self._series.get(label_values)
        if found is None:
            label_values = tuple(map(_label_text, label_values))
            if len(self._series) >= MAX_LABEL_SETS and label_values not in self._series:
                label_values = (OTHER,) * len(label_values)
            found = self._series.setdefault(label_values, Series(self, label_values))
        return found

    def all_series(self) -> list[Series]:
        return list(self._series.values())

    def add(self, amount: float, *label_values: str) -> None:
        """Add to the series with these labels."""
        if IS_INSTALLED:
            self.series(*label_values).add(amount)

    def prepare(self) -> None:
        """Create the series whose labels are known: a counter must exist before it increases."""
        for label_values in product(*self.definition.labels.values()):
            self.series(*label_values).child()

    def family(self) -> Any:
        """Return the metric of prometheus_client with all labels."""
        if self._family is None:
            if directory := multiprocess_directory():
                directory.mkdir(parents=True, exist_ok=True)
            self._family = self._new_family()
        return self._family

    def _new_family(self) -> Any:
        kind, name, description, labels = self.definition
        options: dict[str, Any] = {"registry": registry}
        if kind == "gauge":
            # Of the processes that are alive: see `exposition`.
            return prometheus_client.Gauge(
                name, description, tuple(labels), multiprocess_mode="livesum", **options
            )
        return prometheus_client.Counter(name, description, tuple(labels), **options)


if IS_INSTALLED:
    registry = prometheus_client.CollectorRegistry()

    class _Histogram(prometheus_client.Histogram):
        def add_counts(self, counts: Counts) -> None:
            """Add many observations at once, which the base class cannot."""
            self._sum.inc(counts.total)
            for bucket, number in zip(self._buckets, counts.buckets, strict=True):
                if number:
                    bucket.inc(number)


class HistogramInstrument(Instrument):
    """A histogram of seconds, without labels."""

    def add_counts(self, counts: Counts) -> None:
        """Add observations. Waits for a lock: not for signal handlers. Never raises."""
        if IS_INSTALLED and any(counts.buckets) and _lock.acquire():
            _apply_and_release(lambda: self.series().child().add_counts(counts))

    def _new_family(self) -> Any:
        _, name, description, _ = self.definition
        return _Histogram(name, description, buckets=LAG_BOUNDS_SECONDS, registry=registry)


def _label_text(value: str) -> str:
    """Return a label, which a message of the queue may contain, as bounded text in UTF-8."""
    return value.encode("utf-8", "replace").decode()[:MAX_LABEL_CHARACTERS]


def error_label(error: BaseException) -> str:
    """Return the class of an error of events/, a bounded set; `other` for any other."""
    name = type(error).__name__
    return name if type(error).__module__ == "events.exceptions" else OTHER


def _counter(name: str, description: str, labels: Mapping[str, Sequence[str]]) -> Instrument:
    return Instrument(Definition("counter", PREFIX + name, description, labels))


def _gauge(name: str, description: str, labels: Mapping[str, Sequence[str]]) -> Instrument:
    return Instrument(Definition("gauge", PREFIX + name, description, labels))


# Updates

_lock: Final = Lock()


class _State:
    is_flushing = False
    is_forking = False
    is_failure_logged = False


def _start_flushing() -> None:
    _State.is_flushing = True
    try:
        # Not a Thread: its start takes locks, for which a signal handler must not wait.
        _thread.start_new_thread(_flush_until_idle, ())
    except RuntimeError:  # the interpreter shuts down
        _State.is_flushing = False
        flush()


def _flush_until_idle() -> None:
    while _queued():
        sleep(FLUSH_SECONDS)
        flush()
    _State.is_flushing = False
    flush()  # an update of this moment started no thread


def flush() -> None:
    """Apply the queued updates, unless another thread does it. Never waits, never raises."""
    while _queued() and _lock.acquire(blocking=False):
        _apply_and_release(_apply_updates)


def _apply_and_release(apply: Callable[[], object]) -> None:
    try:
        apply()
    except Exception as error:  # noqa: BLE001 - logged; a metric must not fail what it counts
        if not _State.is_failure_logged:
            _State.is_failure_logged = True
            logger.warning("metrics_not_updated", extra={"error": str(error)})
    finally:
        _lock.release()


def _queued() -> list[Series]:
    return [each for instrument in _instruments for each in instrument.all_series() if each.queue]


def _apply_updates() -> None:
    for series in _queued():
        series.apply()


def prepare() -> None:
    """Create all children whose labels are known. Raises OSError."""
    with _lock:
        for instrument in INSTRUMENTS.values():
            instrument.prepare()
    flush()


def _before_fork() -> None:
    # A fork in a signal handler does not wait for the code that it interrupted.
    _State.is_forking = _lock.acquire(timeout=_FORK_WAIT_SECONDS)


def _after_fork() -> None:
    if _State.is_forking:
        _State.is_forking = False
        _lock.release()


def _after_fork_in_child() -> None:
    for series in _queued():
        series.queue.clear()  # the parent applies them
    _State.is_flushing = False
    _after_fork()


atexit.register(flush)
if IS_INSTALLED and hasattr(os, "register_at_fork"):
    # The locks of prometheus_client are held only together with this one: a child inherits none
    # of them locked.
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork,
        after_in_child=_after_fork_in_child,
    )

# The instruments

TRANSPORTS: Final = ("websocket", "websocket_multi", "sse", "sse_multi", "poll", "replay", "python")
_OUTCOMES: Final = (
    "completed", "failed", "retry", "cancelled", "lost", "awaiting_input", "stopped", "fenced",
    "rejected", "unknown",
)  # fmt: skip
_PUBLISHERS: Final = ("sync", "async", "external")

PUBLISHED: Final = _counter(
    "published_events",
    "Events that Redis acknowledged.",
    {"publisher": (*_PUBLISHERS, "outbox")},
)
PUBLISH_ERRORS: Final = _counter(
    "publish_errors",
    "Appends that failed, by the class of their error. ProducerFenced: the job is at a later"
    " attempt.",
    {"publisher": _PUBLISHERS, "error": ("ProducerFenced", "RedisUnavailable", OTHER)},
)
SUBSCRIBERS: Final = _gauge(
    "subscribers", "Subscriptions to logs that are open.", {"transport": TRANSPORTS}
)
SUBSCRIPTIONS: Final = _counter(
    "subscriptions",
    "Subscriptions that began; those that resume after a cursor are reconnects.",
    {"transport": TRANSPORTS, "resumes": ("false", "true")},
)
RESETS: Final = _counter(
    "resets",
    "Resets sent to subscribers: Redis lost events, or the cursor is not in the log.",
    {"reason": ("loss", "CursorExpired", "CursorLost")},
)
CLOSES: Final = _counter(
    "socket_closes", "WebSockets that the server closed, by close code.", {"code": ()}
)
TASK_RUNS: Final = _counter(
    "task_runs",
    "Deliveries of tasks to workers, by their outcome.",
    {"queue": (), "task_type": (), "outcome": _OUTCOMES},
)
DELIVERY_LAG: Final = HistogramInstrument(
    Definition(
        "histogram",
        f"{PREFIX}delivery_lag_seconds",
        "Time from the append of an event, which its id contains, until it was sent to a live"
        " subscriber; counted for the oldest event of each batch.",
    )
)

# Of calls that take only some 20 microseconds.
PUBLISHED_SYNC: Final = PUBLISHED.series("sync")
PUBLISHED_ASYNC: Final = PUBLISHED.series("async")

INSTRUMENTS: Final[Mapping[str, Instrument]] = {
    each.definition.name: each
    for each in (
        PUBLISHED, PUBLISH_ERRORS, SUBSCRIBERS, SUBSCRIPTIONS, RESETS, CLOSES, TASK_RUNS,
        DELIVERY_LAG,
    )
}  # fmt: skip
