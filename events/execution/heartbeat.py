"""The heartbeat: a thread that says, for all runs of this process, that they live.

It lives as long as there are runs, and tells them when they are to stop. A worker whose heart does
not beat for the WORKER_TIMEOUT of its keeper is taken for dead.
"""

import logging
import os
import threading

import django.db
from django.db import connections

from events.execution.run import CONTROL_SECONDS, TaskRun, keeper
from events.processor.loop import close_connections, first_line

logger = logging.getLogger(__name__)


class HeartbeatThread:
    """Of one process: a child that was forked has one of its own."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._runs: set[TaskRun] = set()
        self._beats = False

    def register(self, run: TaskRun) -> None:
        """Beat for a run, until `unregister` it."""
        if not run.delivery.beats:
            return
        if self._pid != os.getpid():
            self._reset()
        with self._lock:
            self._runs.add(run)
            if not self._beats:
                # It waits for the lock before it looks: if it starts, it beats.
                threading.Thread(target=self._beat, name="job-heartbeat", daemon=True).start()
                self._beats = True

    def unregister(self, run: TaskRun) -> None:
        """The run is over."""
        with self._lock:
            self._runs.discard(run)

    def _beat(self) -> None:
        pause = threading.Event()
        try:
            while not pause.wait(CONTROL_SECONDS):
                with self._lock:
                    runs = list(self._runs)
                    if not runs:
                        self._beats = False
                        return
                self._tell(runs)
        finally:
            connections.close_all()

    @staticmethod
    def _tell(runs: list[TaskRun]) -> None:
        try:
            for run in keeper().beat(runs):
                run.stopped = True
        except Exception as error:
            # It has to go on: the database may be back before anybody takes the worker for dead.
            expected = isinstance(error, django.db.Error)
            extra = {"runs": len(runs), "error": first_line(error)}
            logger.warning("heartbeat_failed", extra=extra, exc_info=None if expected else error)
            close_connections()
