"""Exposition: the text that Prometheus reads.

With the environment variable PROMETHEUS_MULTIPROC_DIR, prometheus_client keeps the values of each
process in files of that directory, and the text has their sums. Otherwise it has the values of this
process.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from events.metrics.instruments import IS_INSTALLED, Definition, multiprocess_directory, prepare

if IS_INSTALLED:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

    from events.metrics.instruments import registry

_LIVE_FILE: Final = re.compile(r"gauge_live\w*_(\d+)\.db")


class FamilySample(NamedTuple):
    """A value of a metric; `suffix` is `_total` for a counter, `_bucket`, … for a histogram."""

    suffix: str
    labels: dict[str, str]
    value: float


class MetricFamily(NamedTuple):
    """A metric that is computed when it is read."""

    definition: Definition
    samples: Iterable[FamilySample]


# Apps add functions that return what they compute for each exposition.
collectors: Final = list[Callable[[], Iterable[MetricFamily]]]()


def is_available() -> bool:
    """Return whether the extra `metrics` is installed."""
    return IS_INSTALLED


def render(accept: str = "", *, with_collectors: bool = True) -> tuple[bytes, str]:
    """Return the metrics and their content type, by an Accept header: OpenMetrics, or else text.

    Requires the extra `metrics`. Raises OSError and what the collectors raise.
    """
    prepare()
    combined = CollectorRegistry()
    if directory := multiprocess_directory():
        _remove_dead_gauges(directory)
        MultiProcessCollector(combined, str(directory))  # type: ignore[no-untyped-call]
    else:
        combined.register(registry)
    if with_collectors:
        for collector in collectors:
            combined.register(_Families(collector()))
    encode, content_type = _encoder(accept)
    return encode(combined), content_type


def _encoder(accept: str) -> tuple[Callable[[Any], bytes], str]:
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is not one
        return choose_encoder("")


class _Families:
    def __init__(self, families: Iterable[MetricFamily]) -> None:
        self._families = families

    def describe(self) -> Iterable[Any]:
        return ()

    def collect(self) -> Iterator[Any]:
        for (kind, name, description, _), samples in self._families:
            metric = Metric(name, description, kind)
            for suffix, labels, value in samples:
                metric.add_sample(name + suffix, labels, value)
            yield metric


def _remove_dead_gauges(directory: Path) -> None:
    """Remove the gauges of processes that have ended; their counters and histograms remain."""
    for path in directory.glob("gauge_live*.db"):
        found = _LIVE_FILE.fullmatch(path.name)
        if found and not _is_alive(int(found[1])):
            mark_process_dead(int(found[1]), str(directory))  # type: ignore[no-untyped-call]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
