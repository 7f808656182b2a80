"""Metrics of this process, and their exposition for Prometheus.

instruments   counters, gauges and histograms, and the list of all; they do nothing without the
              extra `metrics`
exposition    rendering of the instruments of all processes, and of what apps have registered
server        an HTTP server for processes without one

Only this package imports prometheus_client, and it imports no other part of events/.
"""

from events.metrics.exposition import (
    FamilySample,
    MetricFamily,
    collectors,
    is_available,
    render,
)
from events.metrics.instruments import Definition

__all__ = ["Definition", "FamilySample", "MetricFamily", "collectors", "is_available", "render"]
