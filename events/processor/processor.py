"""The process behind `manage.py process_events`: steps, loops, heartbeat and health log."""

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import partial
from time import sleep
from types import FrameType
from typing import Any, Final

import django.db

from events.archive.archiver import Archiver
from events.archive.ownership import RepeatedClaim
from events.database import database_now
from events.erasure import Eraser
from events.exceptions import RedisCommandError
from events.log_format import summarize_error
from events.models import Processor
from events.outbox.relay import Relay
from events.processor.loop import Loop, LoopRunner, Step
from events.processor.losses import REPORT_DELAY, report_losses
from events.processor.problems import REDIS_LOOP
from events.processor.status import MAX_DEAD_AGE, get_status
from events.streams.clients import get_redis
from events.streams.memory import read_memory

logger = logging.getLogger(__name__)

STOP_TIMEOUT_SECONDS: Final = 20.0
_HEARTBEAT_SECONDS: Final = 5.0
_REDIS_CHECK_SECONDS: Final = 5.0
_HEALTH_LOG_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.2
_MAX_HOST_CHARS: Final = 180

# Receives `single_pass`: True for `--once`.
StepFactory = Callable[[bool], Step]

_factories: Final[dict[str, StepFactory]] = {}


def register_step(name: str, factory: StepFactory) -> None:
    """Run a further step in a loop called `name`; called in an `AppConfig.ready`."""
    _factories[name] = factory


def build_steps(*, single_pass: bool = False) -> dict[str, Step]:
    """The steps of a process by the names of their loops; `single_pass` for `--once`."""
    registered = {name: factory(single_pass) for name, factory in _factories.items()}
    delay = timedelta() if single_pass else REPORT_DELAY
    claim = RepeatedClaim()
    return {
        # First: a Redis that is out of memory refuses what the relay appends.
        "archiver": claim.before(Archiver().step),
        "relay": claim.before(Relay().step),
        "losses": partial(report_losses, delay),
        "eraser": claim.before(Eraser().step),
        **registered,
    }


def check_redis() -> int:
    """Raise why Redis refuses events: the loop of this step records since when."""
    if refusal := read_memory(get_redis()).refusal:
        raise RedisCommandError(refusal)
    return 0


class EventProcessor:
    """Runs steps in loops and keeps this process's row in the table of processors."""

    def __init__(self, steps: Mapping[str, Step]) -> None:
        self.name = f"{socket.gethostname()[:_MAX_HOST_CHARS]}:{os.getpid()}"
        self._started_at: datetime | None = None
        self._work = tuple(Loop(name, step) for name, step in steps.items())
        heartbeat = Loop("heartbeat", self._send_heartbeat, idle_seconds=_HEARTBEAT_SECONDS)
        health = Loop("health", self._log_health, idle_seconds=_HEALTH_LOG_SECONDS)
        redis = Loop(REDIS_LOOP, check_redis, idle_seconds=_REDIS_CHECK_SECONDS)
        self._runner = LoopRunner((*self._work, heartbeat, health, redis))

    def run(
        self, should_stop: Callable[[], bool], *, timeout: float = STOP_TIMEOUT_SECONDS
    ) -> list[str]:
        """Run until `should_stop` returns True, then until every loop has completed its step.

        Returns the names of the loops that did not complete it within `timeout` seconds.
        """
        self._runner.start()
        while not should_stop():
            sleep(_POLL_SECONDS)
        unfinished = self._runner.stop(timeout)
        try:
            Processor.objects.filter(name=self.name).delete()
        except django.db.Error as error:
            logger.warning("processor_row_not_deleted", extra={"error": summarize_error(error)})
        self._log("stopped", {"unfinished": unfinished} if unfinished else {})
        return unfinished

    def _send_heartbeat(self) -> int:
        """Update this processor's row; delete the rows of processors dead for an hour."""
        now = database_now()
        self._started_at = self._started_at or now
        values = {
            "started_at": self._started_at,
            "heartbeat_at": now,
            "loops": {loop.name: loop.stats() for loop in self._runner.loops},
        }
        Processor.objects.update_or_create(name=self.name, defaults=values)
        Processor.objects.filter(heartbeat_at__lt=now - MAX_DEAD_AGE).delete()
        return 0

    def _log_health(self) -> int:
        """Log the status; ages are in seconds, None if unknown."""
        status = get_status()
        fields = {
            "outbox": status.outbox.depth,
            "outbox_age": status.outbox.oldest_age,
            "streams_behind": status.archive.behind,
            "archive_age": status.archive.oldest_age,
            "stalled": status.stalled_count,
            "losses": status.loss_count,
            "redis": status.redis.error or status.redis.refusal or "ok",
            "redis_used": status.redis.used,
            "redis_limit": status.redis.limit,
        }
        self._log("running", fields)
        return 0

    def _log(self, state: str, fields: Mapping[str, Any]) -> None:
        counts = {f"{loop.name}_events": loop.events for loop in self._work}
        failures = sum(loop.failures for loop in self._runner.loops)
        extra = {"processor": self.name, "state": state, "failures": failures, **counts, **fields}
        logger.info("process_events_status", extra=extra)


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns True after SIGTERM or SIGINT; a second signal kills."""
    # Not a threading.Event: the handler would wait for a lock that the main thread may hold.
    received: list[int] = []
    with ExitStack() as previous_handlers:

        def stop(number: int, _frame: FrameType | None) -> None:
            received.append(number)
            previous_handlers.close()

        for number in (signal.SIGTERM, signal.SIGINT):
            previous_handlers.callback(signal.signal, number, signal.signal(number, stop))
        yield lambda: bool(received)
