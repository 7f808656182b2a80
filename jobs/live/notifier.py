"""Notification of server processes about job changes, through the project's channel layer.

A notification only wakes up the processes with open job lists, and may be lost. A daemon thread
sends it, so that a layer that hangs does not delay a transition.
"""

import asyncio
import atexit
import logging
import os
import threading
from time import monotonic
from typing import Any, Final

from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, get_channel_layer

from events.circuit_breaker import CircuitBreaker
from jobs.models import Job

logger = logging.getLogger(__name__)

GROUP: Final = "job_events.jobs"
_LAYER_TIMEOUT_SECONDS: Final = 2.0
_THREAD_IDLE_SECONDS: Final = 10.0
# Minimum interval between two notifications about the progress of a job.
_PROGRESS_SECONDS: Final = 0.5
_MAX_PROGRESS_JOBS: Final = 100


class ChangeNotifier:
    """Sends notifications; pauses while the channel layer does not respond."""

    def __init__(self) -> None:
        self.breaker = CircuitBreaker()
        self._progress_sent_at: dict[str, float] = {}
        self._reset()
        atexit.register(self.close)

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._condition = threading.Condition()
        self._pending: dict[str, Any] = {}
        self._thread: threading.Thread | None = None
        self._is_closing = False

    def on_change(self, job: Job, **_kwargs: Any) -> None:
        """Receiver of `job_created` and `job_status_changed`."""
        self._progress_sent_at.pop(job.job_id, None)
        self._notify(job.job_id)

    def on_progress(self, job: Job, **_kwargs: Any) -> None:
        """Receiver of `job_progressed`; limits the rate of each job."""
        now = monotonic()
        if now >= self._progress_sent_at.get(job.job_id, 0.0) + _PROGRESS_SECONDS:
            if len(self._progress_sent_at) > _MAX_PROGRESS_JOBS:
                self._progress_sent_at.clear()
            self._progress_sent_at[job.job_id] = now
            self._notify(job.job_id)

    def close(self) -> None:
        """Send what is pending and end the thread; called at the exit of the process."""
        thread = self._thread
        if self._pid != os.getpid() or thread is None:
            return
        with self._condition:
            self._is_closing = True
            self._condition.notify()
        thread.join(_LAYER_TIMEOUT_SECONDS)

    def _notify(self, job_id: str) -> None:
        layer: Any = get_channel_layer()
        if layer is None or self.breaker.is_open:
            return
        if isinstance(layer, InMemoryChannelLayer):  # bound to the event loop of the server
            async_to_sync(self._send)({job_id: layer})
            return
        if self._pid != os.getpid():  # a forked child has no thread yet
            self._reset()
        with self._condition:
            self._pending[job_id] = layer
            self._condition.notify()
            if self._thread is None:
                self._is_closing = False
                self._thread = threading.Thread(target=self._run, name="job-changes", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            while pending := self._take():
                runner.run(self._send(pending))

    def _take(self) -> dict[str, Any]:
        """Wait for notifications; return none if the thread has to end."""
        with self._condition:
            self._condition.wait_for(
                lambda: self._pending or self._is_closing, _THREAD_IDLE_SECONDS
            )
            pending, self._pending = self._pending, {}
            if not pending:
                self._thread = None
            return pending

    async def _send(self, pending: dict[str, Any]) -> None:
        for job_id, layer in pending.items():
            try:
                # The connections of a layer may have no timeout.
                async with asyncio.timeout(_LAYER_TIMEOUT_SECONDS):
                    await layer.group_send(GROUP, {"type": "jobs.changed", "job_id": job_id})
            except Exception as error:  # noqa: BLE001 - the job has changed whatever a layer raises
                self.breaker.record_failure()
                extra = {"job_id": job_id, "error": repr(error)}
                logger.warning("job_change_not_sent", extra=extra)
                return
        self.breaker.record_success()


change_notifier: Final = ChangeNotifier()
