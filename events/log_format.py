"""Log formatting: message and `extra` as key-value pairs, with secrets redacted."""

import logging
from collections.abc import Callable
from typing import Final

from events.redaction import DEFAULT_REDACTOR

_MAX_SUMMARY_CHARACTERS: Final = 300
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def summarize_error(error: BaseException) -> str:
    """Return the type and first line of an error; further lines may contain user data."""
    line = error_text(error).replace("\0", "").partition("\n")[0]
    return f"{type(error).__name__}: {line}"[:_MAX_SUMMARY_CHARACTERS]


def error_text(error: object) -> str:
    """Return `str(error)`; empty if that raises, as the `__str__` of a project's error may."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - it must not replace the error
        return ""


class KeyValueFormatter(logging.Formatter):
    """Appends the `extra` of a record to its message as `key=value`, and redacts the result."""

    def format(self, record: logging.LogRecord) -> str:
        # A traceback may contain the arguments of a task.
        return DEFAULT_REDACTOR.text(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        extra = {k: v for k, v in vars(record).items() if k not in _STANDARD and k[0] != "_"}
        pairs = "".join(f" {name}={value!r}" for name, value in sorted(extra.items()))
        return super().formatMessage(record) + pairs


class LineHandler(logging.Handler):
    """Passes each formatted record to a function."""

    def __init__(self, write: Callable[[str], object]) -> None:
        super().__init__()
        self._write = write
        self.setFormatter(KeyValueFormatter("{asctime} {levelname} {message}", style="{"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(self.format(record))
        except Exception:  # noqa: BLE001 - as in logging.StreamHandler
            self.handleError(record)
