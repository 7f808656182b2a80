"""What `manage.py process_events` runs: relay, archiver, reaper, a heartbeat and a health line."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic, sleep, time
from types import FrameType
from typing import Any, Final

import django.db
from django.utils import timezone

from events.database import close_connections
from events.log_format import summarize_error
from events.models import Processor
from events.processor.lag import archive_lag
from events.processor.loop import (
    IDLE_SECONDS,
    Loop,
    LoopRunner,
    Step,
)
from events.processor.status import get_status, outbox_status, stalled_logs, stalled_positions

logger = logging.getLogger(__name__)

BEAT_SECONDS: Final = 5.0
REPORT_SECONDS: Final = 30.0
STOP_SECONDS: Final = 20.0
_FORGOTTEN_AFTER: Final = timedelta(days=1)
_WATCH_SECONDS: Final = 0.2
_SETTLED_SECONDS: Final = 2.0
_LONGEST_HOST: Final = 180


class Processing:
    """One process's loops, and its row in the table of processors."""

    def __init__(self, steps: Mapping[str, Step]) -> None:
        self.name = f"{socket.gethostname()[:_LONGEST_HOST]}:{os.getpid()}"
        self.started_at = timezone.now()
        self._work = tuple(Loop(name, step) for name, step in steps.items())
        heartbeat = Loop("heartbeat", self._beat, idle=BEAT_SECONDS)
        health = Loop("health", self._report, idle=REPORT_SECONDS)
        self._supervisor = LoopRunner((*self._work, heartbeat, health))

    def run(self, asked_to_stop: Callable[[], bool], *, within: float = STOP_SECONDS) -> list[str]:
        """Run until `asked_to_stop`, then let every loop finish its step.

        Returns the names of the loops that did not within so many seconds.
        """
        while not asked_to_stop():
            self._supervisor.watch()
            sleep(_WATCH_SECONDS)
        left = self._supervisor.stop(within)
        self._forget()
        self._log("stopped", {"left": left} if left else {})
        return left

    def _beat(self) -> int:
        """Say that this processor lives, and forget those that have not for long."""
        now = timezone.now()
        said = {
            "started_at": self.started_at,
            "heartbeat_at": now,
            "loops": {loop.name: loop.numbers() for loop in self._supervisor.loops},
        }
        Processor.objects.update_or_create(name=self.name, defaults=said)
        Processor.objects.filter(heartbeat_at__lt=now - _FORGOTTEN_AFTER).delete()
        return 0

    def _forget(self) -> None:
        try:
            Processor.objects.filter(name=self.name).delete()
        except django.db.Error as error:
            logger.warning("processor_not_forgotten", extra={"error": summarize_error(error)})

    def _report(self) -> int:
        """Log how the log does."""
        try:
            self._log("running", status_numbers())
        except django.db.Error as error:
            self._log("running", {"database": summarize_error(error)})
            close_connections()
        return 0

    def _log(self, state: str, numbers: Mapping[str, Any]) -> None:
        counts = {f"{loop.name}_events": loop.events for loop in self._work}
        failures = sum(loop.failures for loop in self._supervisor.loops)
        extra = {"processor": self.name, "state": state, "failures": failures, **counts, **numbers}
        logger.info("process_events_status", extra=extra)


def status_numbers() -> dict[str, Any]:
    """The numbers of a health line; those of Redis are None when it does not answer."""
    status = get_status()
    return {
        "outbox": status.outbox.depth,
        "outbox_age": _rounded(status.outbox.oldest_age),
        "archive_lag": status.archive.entries,
        "archive_age": _rounded(status.archive.oldest_age),
        "stalled": status.stalled_count,
        "redis": status.archive.error or "ok",
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


@dataclass(slots=True)
class StopFlag:
    """Whether somebody asked the process to stop.

    A handler of signals only sets a flag: an Event has a lock, which the thread that the handler
    interrupts may hold.
    """

    asked: bool = False

    def __call__(self) -> bool:
        """Whether somebody did."""
        return self.asked


@contextmanager
def stopping_on_signals() -> Iterator[StopFlag]:
    """Let SIGTERM and SIGINT ask for a stop; a second one ends the process where it stands."""
    stopping = StopFlag()
    before: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)

    def ask(_number: int, _frame: FrameType | None) -> None:
        stopping.asked = True
        restore()

    if threading.current_thread() is threading.main_thread():
        before.update({n: signal.signal(n, ask) for n in (signal.SIGTERM, signal.SIGINT)})
    try:
        yield stopping
    finally:
        restore()


@dataclass(frozen=True, slots=True)
class Done:
    """What `process_once` did; `idle` is False if there was still something to do in the end."""

    counts: dict[str, int]
    idle: bool
    seconds: float


def process_once(steps: Mapping[str, Step], *, timeout: float) -> Done:
    """Run all steps in turn until none finds anything; no more turns after `timeout` seconds.

    What somebody has just committed is left to them for a moment, so it may take two seconds.
    Raises what the steps raise: EventsError, django.db.Error.
    """
    counts = dict.fromkeys(steps, 0)
    start = monotonic()
    while True:
        done = {name: step() for name, step in steps.items()}
        counts = {name: counts[name] + done[name] for name in steps}
        seconds = monotonic() - start
        idle = not any(done.values())
        if seconds >= timeout or (idle and not _something_settles(seconds)):
            return Done(counts, idle, seconds)
        if idle:
            sleep(IDLE_SECONDS)


def _something_settles(seconds: float) -> bool:
    """Whether the outbox has events from before the start that the relay may not look at yet."""
    return seconds < _SETTLED_SECONDS and (outbox_status().oldest_age or 0) > seconds


def unfinished_business(done: Done) -> str:
    """What somebody has to look at after `process_once`, as a sentence; empty if nothing."""
    stalled = stalled_logs()
    if stalled:
        more = f" (the first of {stalled_positions().count()})" if len(stalled) > 1 else ""
        return f"The log of job {stalled[0].job_id}{more} is stalled: {stalled[0].error}"
    if not done.idle:
        return "There is more to do: run it again, or with a longer --timeout."
    outbox = outbox_status()
    if (outbox.oldest_age or 0) > done.seconds:
        return "There are events in the outbox that did not get into the log; was Redis away?"
    oldest = archive_lag().oldest_ms
    if oldest is not None and time() - oldest / 1000 > done.seconds:
        return (
            "There are events that are not archived: a transaction holds their job. Run it again."
        )
    return ""
