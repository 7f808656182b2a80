"""Writes the dashboard for Grafana: `python docs/generate_dashboard.py`.

What comes from the database and Redis is the same at each target: `max`, not `sum`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

DASHBOARD: Final = Path(__file__).resolve().parent / "grafana-dashboard.json"
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_TYPE: Final = '{task_type=~"$task_type"}'
_COLUMNS: Final = 24
_HEIGHT: Final = 8


class Panel(NamedTuple):
    """A panel: legends and expressions of its lines."""

    title: str
    lines: dict[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8


def _rate(metric: str, by: str, labels: str = "") -> str:
    """Return the rate of a counter that each process counts."""
    return f"sum by ({by}) (rate(job_events_{metric}_total{labels}[$__rate_interval]))"


def _sum_rate(metric: str, by: str, labels: str = "") -> str:
    """Return the rate of a sum of samples, which grows once a minute."""
    return f"max by ({by}) (rate(job_events_{metric}_total{labels}[10m]))"


def _quantiles(metric: str) -> dict[str, str]:
    buckets = f"max by (task_type, le) (rate(job_events_{metric}_seconds_bucket{_TYPE}[30m]))"
    return {
        f"{{{{task_type}}}} p{share * 100:.0f}": f"histogram_quantile({share}, {buckets})"
        for share in (0.5, 0.95)
    }


_LAG: Final = "sum by (le) (rate(job_events_delivery_lag_seconds_bucket[$__rate_interval]))"
_OPEN: Final = f"max by (task_type, status) (job_events_jobs{_TYPE})"
_ENDED: Final = f"max by (task_type, status) (rate(job_events_attempts_ended_total{_TYPE}[30m]))"
_FAILED: Final = (
    'max by (task_type) (rate(job_events_attempts_ended_total{status="failed",'
    ' task_type=~"$task_type"}[30m]))'
)

ROWS: Final = {
    "Health": (
        Panel(
            "Problems", {"{{code}}": "max by (code) (job_events_problem)"}, kind="stat", width=12
        ),
        Panel("Processors", {"": "max(job_events_processors)"}, kind="stat", width=4),
        Panel(
            "Memory of Redis",
            {
                "used": "max(job_events_redis_used_bytes)",
                "maxmemory": "max(job_events_redis_limit_bytes) > 0",
            },
            "bytes",
        ),
        Panel(
            "Age of the oldest event",
            {
                "outbox": "max(job_events_outbox_age_seconds)",
                "archive": "max(job_events_archive_age_seconds)",
            },
            "s",
        ),
        Panel(
            "Backlog",
            {
                "outbox, events": "max(job_events_outbox_events)",
                "archive, streams": "max(job_events_streams_behind)",
                "stalled logs": "max(job_events_stalled_logs)",
                "gaps in 24 hours": "max(job_events_lost_event_gaps)",
            },
        ),
        Panel(
            "Failures of loops per second",
            {"{{processor}} {{loop}}": _sum_rate("loop_failures", "processor, loop")},
        ),
    ),
    "Jobs": (
        Panel(
            "Open jobs",
            {"{{status}}": f"sum by (status) ({_OPEN})"},
        ),
        Panel("Open input requests", {"": "max(job_events_inputs_pending)"}),
        Panel(
            "Jobs created per second",
            {"{{task_type}}": _sum_rate("jobs_created", "task_type", _TYPE)},
        ),
        Panel("Attempts ended per second", {"{{status}}": f"sum by (status) ({_ENDED})"}),
        Panel(
            "Failure rate",
            {"{{task_type}}": f"{_FAILED} / on (task_type) (sum by (task_type) ({_ENDED}) > 0)"},
            "percentunit",
        ),
        Panel("Failures per second", {"{{reason}}": _sum_rate("failed_attempts", "reason")}),
        Panel("Queue wait", _quantiles("queue_wait"), "s"),
        Panel("Duration", _quantiles("duration"), "s"),
        Panel("Time to the first event", _quantiles("first_event"), "s"),
        Panel(
            "Tokens per second",
            {"{{task_type}} {{direction}}": _sum_rate("tokens", "task_type, direction", _TYPE)},
            width=12,
        ),
        Panel(
            "Cost per hour",
            {"{{task_type}}": f"3600 * {_sum_rate('cost', 'task_type', _TYPE)}"},
            width=12,
        ),
    ),
    "Events": (
        Panel(
            "Events per second",
            {
                "appended": "max(rate(job_events_appended_events_total[10m]))",
                "archived": "max(rate(job_events_archived_events_total[10m]))",
            },
        ),
        Panel("Published per second", {"{{publisher}}": _rate("published_events", "publisher")}),
        Panel("Errors of publishers per second", {"{{error}}": _rate("publish_errors", "error")}),
        Panel(
            "Task runs per second", {"{{queue}} {{outcome}}": _rate("task_runs", "queue, outcome")}
        ),
        Panel("Subscribers", {"{{transport}}": "sum by (transport) (job_events_subscribers)"}),
        Panel(
            "Delivery lag",
            {
                "p50": f"histogram_quantile(0.5, {_LAG})",
                "p95": f"histogram_quantile(0.95, {_LAG})",
            },
            "s",
        ),
        Panel(
            "Reconnects per second",
            {"{{transport}}": _rate("subscriptions", "transport", '{resumes="true"}')},
        ),
        Panel("Resets per second", {"{{reason}}": _rate("resets", "reason")}),
        Panel("Closed sockets per second", {"{{code}}": _rate("socket_closes", "code")}),
    ),
}


def _panels() -> Iterator[dict[str, Any]]:
    number, y = 0, 0
    for row, panels in ROWS.items():
        x = 0
        number += 1
        position = {"h": 1, "w": _COLUMNS, "x": 0, "y": y}
        yield {"id": number, "type": "row", "title": row, "gridPos": position, "panels": []}
        y += 1
        for panel in panels:
            if x + panel.width > _COLUMNS:
                x, y = 0, y + _HEIGHT
            number += 1
            yield {
                "id": number,
                "type": panel.kind,
                "title": panel.title,
                "datasource": _SOURCE,
                "gridPos": {"h": _HEIGHT, "w": panel.width, "x": x, "y": y},
                "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
                "targets": [
                    {"refId": chr(65 + index), "expr": expression, "legendFormat": legend}
                    for index, (legend, expression) in enumerate(panel.lines.items())
                ],
            }
            x += panel.width
        y += _HEIGHT


def dashboard() -> str:
    """Return the JSON of the dashboard."""
    task_type = "label_values(job_events_attempts_ended_total, task_type)"
    variables = [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
        {
            "name": "task_type", "type": "query", "label": "Task type", "datasource": _SOURCE,
            "query": {"query": task_type, "refId": "task_type"}, "refresh": 2, "multi": True,
            "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"},
        },
    ]  # fmt: skip
    content = {
        "title": "Job events",
        "uid": "job-events",
        "schemaVersion": 39,
        "tags": ["django-job-events"],
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": variables},
        "panels": list(_panels()),
    }
    return json.dumps(content, indent=1) + "\n"


if __name__ == "__main__":
    DASHBOARD.write_text(dashboard())
