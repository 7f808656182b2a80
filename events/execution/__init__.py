"""Execution of tasks of jobs: run state, heartbeats and the base class of queue adapters.

    run              `TaskRun`, `Delivery`, `current_run`
    tracker          `RunTracker` protocol, the registry of the run tracker, `persist`
    heartbeat        heartbeat thread of a worker process
    adapter          `QueueAdapter` and the registry of adapters
    stream_tracker   run tracker of projects without the app `jobs`

Allowed imports: `events.publisher`, `events.outbox` and the packages below them.
"""

from events.execution.adapter import (
    Cancelled,
    Completed,
    Failed,
    Lost,
    QueueAdapter,
    Retry,
    Unknown,
    register_adapter,
)
from events.execution.run import Delivery, Question, Reason, TaskRun, current_run
from events.execution.tracker import RunTracker, register_run_tracker, run_tracker

__all__ = [
    "Cancelled", "Completed", "Delivery", "Failed", "Lost", "Question", "QueueAdapter", "Reason",
    "Retry", "RunTracker", "TaskRun", "Unknown", "current_run", "register_adapter",
    "register_run_tracker", "run_tracker",
]  # fmt: skip
