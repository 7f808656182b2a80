"""Telling the processes that show jobs that some have changed, by the project's channel layer.

A message only wakes them up, and may be lost. So nobody waits for it: a thread sends what there is,
by one connection, and ends when there is nothing more to be told for a while.
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
# Seconds: that a layer may take, and after which a thread that has nothing to tell ends.
_PATIENCE: Final = 2.0
_IDLE: Final = 10.0
# Seconds between two news of the progress of a job by one process, and how many jobs it remembers.
_PROGRESS: Final = 0.5
_REMEMBERED: Final = 100


class ChangeNotifier:
    """Tells the channel layer, which is left alone for a while when it does not answer."""

    def __init__(self) -> None:
        self.rest = CircuitBreaker()
        self._told: dict[str, float] = {}
        self._reset()
        atexit.register(self.end)

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._some = threading.Condition()
        self._untold: dict[str, Any] = {}
        self._thread: threading.Thread | None = None
        self._ends = False

    def changed(self, job: Job, **_given: Any) -> None:
        """Receiver of the signals of a job that is new, or has another status."""
        self._told.pop(job.job_id, None)
        self._tell(job.job_id)

    def progressed(self, job: Job, **_given: Any) -> None:
        """Receiver of the signal of progress, of which there may be much."""
        now = monotonic()
        if now >= self._told.get(job.job_id, 0.0) + _PROGRESS:
            if len(self._told) > _REMEMBERED:
                self._told.clear()
            self._told[job.job_id] = now
            self._tell(job.job_id)

    def end(self) -> None:
        """Tell what there is, and end the thread; the process does so at its end."""
        thread = self._thread
        if self._pid != os.getpid() or thread is None:
            return
        with self._some:
            self._ends = True
            self._some.notify()
        thread.join(_PATIENCE)

    def _tell(self, job_id: str) -> None:
        layer: Any = get_channel_layer()
        if layer is None or self.rest.is_open:
            return
        if isinstance(layer, InMemoryChannelLayer):  # it belongs to the loop of a server
            async_to_sync(self._send)({job_id: layer})
            return
        if self._pid != os.getpid():  # a child that was forked has a thread of its own
            self._reset()
        with self._some:
            self._untold[job_id] = layer
            self._some.notify()
            if self._thread is None:
                self._ends = False
                self._thread = threading.Thread(target=self._work, name="job-news", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        with asyncio.Runner() as runner:
            while untold := self._next():
                runner.run(self._send(untold))

    def _next(self) -> dict[str, Any]:
        """What is to be told, once there is something; nothing if this thread is to end."""
        with self._some:
            self._some.wait_for(lambda: self._untold or self._ends, _IDLE)
            untold, self._untold = self._untold, {}
            if not untold:
                self._thread = None
            return untold

    async def _send(self, untold: dict[str, Any]) -> None:
        for job_id, layer in untold.items():
            try:
                async with asyncio.timeout(_PATIENCE):  # its connections may have no timeout
                    await layer.group_send(GROUP, {"type": "jobs.changed", "job_id": job_id})
            except Exception as error:  # noqa: BLE001 - whatever a layer raises, the job has changed
                self.rest.failed()
                logger.warning("news_not_told", extra={"job_id": job_id, "error": repr(error)})
                return
        self.rest.worked()
