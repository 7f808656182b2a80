"""Heartbeat thread: records every second that the task runs of this process are alive.

The thread runs while there are runs, and marks those that have to stop.
"""

import logging
import os
import threading

from django.db import connections

from events.database import close_connections, release_connections
from events.execution.run import HEARTBEAT_SECONDS, TaskRun
from events.execution.tracker import run_tracker
from events.log_format import log_failure

logger = logging.getLogger(__name__)


class HeartbeatThread:
    """Heartbeats of one process; a forked child starts a thread of its own."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._runs: set[TaskRun] = set()
        self._is_running = False

    def register(self, run: TaskRun) -> None:
        """Send heartbeats for a run until `unregister`."""
        if not run.delivery.sends_heartbeats:
            return
        if self._pid != os.getpid():
            self._reset()
        with self._lock:
            self._runs.add(run)
            if not self._is_running:
                # Set after `start`, which may raise. The new thread needs the lock to end.
                threading.Thread(target=self._main, name="job-heartbeat", daemon=True).start()
                self._is_running = True

    def unregister(self, run: TaskRun) -> None:
        with self._lock:
            self._runs.discard(run)

    def _main(self) -> None:
        pause = threading.Event()
        try:
            while not pause.wait(HEARTBEAT_SECONDS):
                with self._lock:
                    runs = list(self._runs)
                    if not runs:
                        self._is_running = False
                        return
                self._send(runs)
        finally:
            connections.close_all()

    @staticmethod
    def _send(runs: list[TaskRun]) -> None:
        try:
            for run in run_tracker().send_heartbeats(runs):
                run.stopped = True
            release_connections()
        except Exception as error:  # noqa: BLE001 - logged
            # The next round may succeed before WORKER_TIMEOUT: the thread must survive.
            log_failure(logger, "heartbeat_failed", error, runs=len(runs))
            close_connections()


heartbeat_thread = HeartbeatThread()
