"""Loops of the processor: each repeats one step in a thread, whatever the step raises.

After a step that did something, the next follows at once; after one that found nothing to do, the
loop pauses; after an error, it retries with exponential backoff.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final

from django.db import close_old_connections, connections

from events.database import close_connections, release_connections
from events.log_format import log_failure, summarize_error

logger = logging.getLogger(__name__)

IDLE_SECONDS: Final = 0.5
_MIN_RETRY_SECONDS: Final = 0.5
_MAX_RETRY_SECONDS: Final = 10.0
# With Django's default CONN_MAX_AGE, closing after each step would open a connection for each.
_CLOSE_OLD_SECONDS: Final = 60.0

_STATS: Final = (
    "rounds",
    "events",
    "failures",
    "failing",
    "failing_seconds",
    "error",
    "succeeded_at",
)

Step = Callable[[], int]


@dataclass(slots=True)
class Loop:
    """Repeats `step`, which returns how much it did: 0 if there was nothing to do."""

    name: str
    step: Step
    idle_seconds: float = IDLE_SECONDS
    rounds: int = 0
    events: int = 0
    failures: int = 0
    error: str = ""
    failing: bool = False
    succeeded_at: str | None = None
    _retry_seconds: float = field(default=0.0, init=False)
    _failing_since: float = field(default=0.0, init=False)
    _closed_old_at: float = field(default_factory=monotonic, init=False)

    def run(self, stopping: threading.Event) -> None:
        """Run steps until `stopping` is set; a step in progress is completed."""
        pause = 0.0
        while not stopping.wait(pause):
            try:
                pause = self._run_step()
            except BaseException as error:  # noqa: BLE001 - SystemExit too must not end the loop
                pause = self._record_failure(error)
        connections.close_all()

    def _run_step(self) -> float:
        """Run one step; return the seconds until the next."""
        if self.failing:
            close_connections()
        done = self.step()
        release_connections()
        self.rounds += 1
        self.events += done
        self.succeeded_at = datetime.now(UTC).isoformat()
        self.failing = False
        self._retry_seconds = 0.0
        if monotonic() >= self._closed_old_at + _CLOSE_OLD_SECONDS:
            close_old_connections()
            self._closed_old_at = monotonic()
        return 0.0 if done else self.idle_seconds

    def _record_failure(self, error: BaseException) -> float:
        """Count and log an error; return the seconds until the retry."""
        if not self.failing:
            self._failing_since = monotonic()
        self.failures += 1
        self.failing = True
        self.error = summarize_error(error)
        self._retry_seconds = min(self._retry_seconds * 2 or _MIN_RETRY_SECONDS, _MAX_RETRY_SECONDS)
        log_failure(logger, "loop_failed", error, loop=self.name, retry_in=self._retry_seconds)
        return self._retry_seconds

    @property
    def failing_seconds(self) -> float:
        return monotonic() - self._failing_since if self.failing else 0.0

    def stats(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _STATS}


class LoopRunner:
    """Runs loops, each in a daemon thread: a step that hangs does not keep the process alive."""

    def __init__(self, loops: Iterable[Loop]) -> None:
        self.loops = tuple(loops)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=loop.run, args=(self._stopping,), name=loop.name, daemon=True)
            for loop in self.loops
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float) -> list[str]:
        """Stop the loops after their steps; return the names of those still running at timeout."""
        self._stopping.set()
        deadline = monotonic() + timeout
        for thread in self._threads:
            thread.join(max(deadline - monotonic(), 0.0))
        return [thread.name for thread in self._threads if thread.is_alive()]
