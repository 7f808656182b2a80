"""Loops, each in a thread of its own, that go on whatever their steps raise.

A loop's states: *working* (its last step found something; the next follows at once), *idle* (it
found nothing; the next follows after a pause), *failing* (it raised; the next follows after a pause
that grows). A step that ends even its thread is a failure too; the supervisor starts the thread
again.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import Any, Final

import django.db
from django.db import close_old_connections, connections
from django.utils import timezone

from events.database import close_connections
from events.exceptions import EventsError
from events.log_format import summarize_error

logger = logging.getLogger(__name__)

IDLE_SECONDS: Final = 0.2
_RETRY_FIRST: Final = 0.5
_RETRY_LAST: Final = 10.0
# Not after each step: with Django's default CONN_MAX_AGE each would open a connection of its own.
_RENEWED_SECONDS: Final = 60.0

Step = Callable[[], int]


@dataclass(slots=True)
class Loop:
    """One step again and again; `step` returns how much it did, 0 if there was nothing to do."""

    name: str
    step: Step
    idle: float = IDLE_SECONDS
    rounds: int = 0
    events: int = 0
    failures: int = 0
    error: str = ""
    failing: bool = False
    succeeded_at: datetime | None = None
    _retry_in: float = field(default=0.0, init=False)
    _renewed_at: float = field(default_factory=monotonic, init=False)

    def run(self, stopping: threading.Event) -> None:
        """Run steps until `stopping` is set; the step under way is finished."""
        pause = self._retry_in
        try:
            while not stopping.wait(pause):
                pause = self._round()
        except BaseException as error:
            self._failed(error)
            raise
        finally:
            connections.close_all()

    def _round(self) -> float:
        """One step; returns the seconds until the next."""
        try:
            done = self.step()
        except Exception as error:  # noqa: BLE001 - the loop has to go on, whatever a step raises
            return self._failed(error)
        self.rounds += 1
        self.events += done
        self.succeeded_at = timezone.now()
        self.failing = False
        self._retry_in = 0.0
        self._renew_connections()
        return 0.0 if done else self.idle

    def _failed(self, error: BaseException) -> float:
        self.failures += 1
        self.failing = True
        self.error = summarize_error(error)
        self._retry_in = min(self._retry_in * 2 or _RETRY_FIRST, _RETRY_LAST)
        expected = isinstance(error, (EventsError, django.db.Error))
        extra = {"loop": self.name, "error": self.error, "retry_in": self._retry_in}
        logger.log(
            logging.WARNING if expected else logging.ERROR,
            "loop_failed",
            extra=extra,
            exc_info=None if expected else error,
        )
        close_connections()
        return self._retry_in

    def _renew_connections(self) -> None:
        if monotonic() >= self._renewed_at + _RENEWED_SECONDS:
            close_old_connections()
            self._renewed_at = monotonic()

    def numbers(self) -> dict[str, Any]:
        """What the loop did so far, as JSON can hold it."""
        at = self.succeeded_at
        return {
            "rounds": self.rounds,
            "events": self.events,
            "failures": self.failures,
            "failing": self.failing,
            "error": self.error,
            "succeeded_at": at.isoformat() if at else None,
        }


class LoopRunner:
    """Keeps loops running."""

    def __init__(self, loops: Iterable[Loop]) -> None:
        self.loops = tuple(loops)
        self._stopping = threading.Event()
        self._threads: dict[str, threading.Thread] = {}

    def watch(self) -> None:
        """Start the loops that do not run: all of them at first, later those that died."""
        for loop in self.loops:
            thread = self._threads.get(loop.name)
            if thread is not None and thread.is_alive():
                continue
            if thread is not None:
                logger.error("loop_restarted", extra={"loop": loop.name, "error": loop.error})
            self._threads[loop.name] = self._start(loop)

    def stop(self, seconds: float) -> list[str]:
        """Let the loops finish their step; returns the names of those that did not in time."""
        self._stopping.set()
        deadline = monotonic() + seconds
        for thread in self._threads.values():
            thread.join(max(deadline - monotonic(), 0.0))
        return [name for name, thread in self._threads.items() if thread.is_alive()]

    def _start(self, loop: Loop) -> threading.Thread:
        # A daemon: a step that hangs must not keep the process from ending.
        thread = threading.Thread(
            target=loop.run, args=(self._stopping,), name=loop.name, daemon=True
        )
        thread.start()
        return thread
