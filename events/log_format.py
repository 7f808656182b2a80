"""Log formatting: message and `extra` as key-value pairs, with secrets redacted; rate limit."""

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from time import monotonic
from typing import Any, Final

import django.db

from events.error_report import error_message, error_type
from events.exceptions import EventsError
from events.redaction import DEFAULT_REDACTOR

logger = logging.getLogger(__name__)

_MAX_SUMMARY_CHARACTERS: Final = 300
_MAX_PERIODS: Final = 1000
_TICKET: Final = re.compile(r"(?<=[?&]ticket=)[^&\s\"']+")
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def summarize_error(error: BaseException) -> str:
    """Return the type and first line of an error; further lines may contain user data."""
    line = error_message(error).replace("\0", "").partition("\n")[0]
    return f"{error_type(error)}: {line}"[:_MAX_SUMMARY_CHARACTERS]


def log_failure(log: logging.Logger, event: str, error: BaseException, **extra: Any) -> None:
    """Log an error: in one line if Redis or the database fails, else with its traceback."""
    is_expected = isinstance(error, (EventsError, django.db.Error, TimeoutError))
    log.log(
        logging.WARNING if is_expected else logging.ERROR,
        event,
        extra={**extra, "error": summarize_error(error)},
        exc_info=None if is_expected else error,
    )


class RateLimit(logging.Filter):
    """Passes the first lines of each message in a period; for the `filters` of a handler.

    Applies to warnings and errors. At the end of the period, `log_lines_suppressed` gives the
    number of the other lines, before the next line of any message.
    """

    def __init__(self, lines: int = 10, seconds: float = 60.0) -> None:
        super().__init__()
        self._lines, self._seconds = lines, seconds
        self._lock = threading.RLock()  # signal handlers log, too
        # By logger and message: the start of the period, and the number of lines since.
        self._periods: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = monotonic()
        with self._lock:
            suppressed = self._end_periods(now)
            is_exempt = record.levelno < logging.WARNING or record.name == __name__
            is_passed = is_exempt or self._count(record, now)
        for (of, event), lines in suppressed.items():
            logger.warning("log_lines_suppressed", extra={"of": of, "event": event, "lines": lines})
        return is_passed

    def _count(self, record: logging.LogRecord, now: float) -> bool:
        key = record.name, str(record.msg)[:_MAX_SUMMARY_CHARACTERS]
        if key not in self._periods and len(self._periods) >= _MAX_PERIODS:
            # The messages of a project may contain data: count all of this logger as one.
            key = record.name, ""
        start, lines = self._periods.get(key, (now, 0))
        self._periods[key] = start, lines + 1
        return lines < self._lines

    def _end_periods(self, now: float) -> dict[tuple[str, str], int]:
        """Forget the periods that are over; return their numbers of suppressed lines."""
        # Periods have one length: they end in the order of their starts, which the dict keeps.
        over = list(
            takewhile(lambda key: now >= self._periods[key][0] + self._seconds, self._periods)
        )
        counts = {key: self._periods.pop(key)[1] - self._lines for key in over}
        return {key: lines for key, lines in counts.items() if lines > 0}


class KeyValueFormatter(logging.Formatter):
    """Appends the `extra` of a record to its message as `key=value`, and redacts the result."""

    def format(self, record: logging.LogRecord) -> str:
        # A traceback may contain the arguments of a task.
        return DEFAULT_REDACTOR.text(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        extra = {k: v for k, v in vars(record).items() if k not in _STANDARD and k[0] != "_"}
        pairs = "".join(f" {name}={value!r}" for name, value in sorted(extra.items()))
        return super().formatMessage(record) + pairs


class TicketFilter(logging.Filter):
    """Replaces tickets in the URLs of records by `[redacted]`; for the loggers of a web server."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = _without_tickets(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(map(_without_tickets, record.args))
        return True


def _without_tickets(value: object) -> object:
    return _TICKET.sub("[redacted]", value) if isinstance(value, str) else value


@contextmanager
def logs_on(write: Callable[[str], object]) -> Iterator[None]:
    """Pass log lines to `write` for those of our packages for which no handler is configured."""
    logs = [logging.getLogger(name) for name in ("events", "jobs")]
    logs = [log for log in logs if not log.hasHandlers()]
    handler, levels = LineHandler(write), [log.level for log in logs]
    for log in logs:
        log.addHandler(handler)
        log.setLevel(logging.INFO)
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.removeHandler(handler)
            log.setLevel(level)


class LineHandler(logging.Handler):
    """Passes each formatted record to a function."""

    def __init__(self, write: Callable[[str], object]) -> None:
        super().__init__()
        self._write = write
        self.addFilter(RateLimit())
        self.setFormatter(KeyValueFormatter("{asctime} {levelname} {message}", style="{"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(self.format(record))
        except Exception:  # noqa: BLE001 - as in logging.StreamHandler
            self.handleError(record)
