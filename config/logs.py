"""Log lines of the site: an event's name, then what it is about."""

import logging

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class KeyValueFormatter(logging.Formatter):
    """Puts a record's `extra` behind its message, as `key=value`."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Format the line, without a traceback."""
        extra = {k: v for k, v in vars(record).items() if k not in _STANDARD and k[0] != "_"}
        pairs = "".join(f" {name}={value!r}" for name, value in sorted(extra.items()))
        return super().formatMessage(record) + pairs
