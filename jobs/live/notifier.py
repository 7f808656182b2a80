"""Notification of server processes about job changes, through the project's channel layer.

A daemon thread sends them, so that a layer that hangs does not delay a transition.
"""

import asyncio
import atexit
import logging
import os
import threading
from queue import SimpleQueue
from time import monotonic
from typing import Any, Final

from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, get_channel_layer

from events.circuit_breaker import CircuitBreaker
from jobs.models import Job

logger = logging.getLogger(__name__)

GROUP: Final = "job_events.jobs"
_LAYER_TIMEOUT_SECONDS: Final = 2.0
# Minimum interval between two notifications about the progress of a job.
_PROGRESS_SECONDS: Final = 0.5
_MAX_PROGRESS_JOBS: Final = 100


class ChangeNotifier:
    """Sends notifications; discards them while the channel layer does not respond."""

    def __init__(self) -> None:
        self.breaker = CircuitBreaker()
        self._progress_sent_at: dict[str, float] = {}
        self._reset()
        atexit.register(self.close)

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._queue: SimpleQueue[tuple[Any, str] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def on_change(self, job: Job, **_kwargs: Any) -> None:
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
        if self._pid == os.getpid() and self._thread is not None:
            with self._lock:
                self._queue.put(None)
                self._thread.join(_LAYER_TIMEOUT_SECONDS)
                self._queue, self._thread = SimpleQueue(), None

    def _notify(self, job_id: str) -> None:
        layer = get_channel_layer()
        if layer is None:
            return
        if isinstance(layer, InMemoryChannelLayer):  # bound to the event loop of the server
            async_to_sync(self._send)(layer, job_id)
            return
        if self._pid != os.getpid():  # a forked child has no thread yet
            self._reset()
        with self._lock:
            self._queue.put((layer, job_id))
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="job-changes", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        queue = self._queue
        with asyncio.Runner() as runner:
            while (notification := queue.get()) is not None:
                runner.run(self._send(*notification))

    async def _send(self, layer: Any, job_id: str) -> None:
        if self.breaker.is_open:
            return
        try:
            # The connections of a layer may have no timeout.
            async with asyncio.timeout(_LAYER_TIMEOUT_SECONDS):
                await layer.group_send(GROUP, {"type": "jobs.changed", "job_id": job_id})
        except Exception as error:  # noqa: BLE001 - the job has changed whatever a layer raises
            self.breaker.record_failure()
            extra = {"job_id": job_id, "error": repr(error)}
            logger.warning("job_change_not_sent", extra=extra)
        else:
            self.breaker.record_success()


change_notifier: Final = ChangeNotifier()
