"""Alert messages through the services of Apprise (extra `alerts`)."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import ClassVar, Final

from jobs.alerts.channels.base import Channel, list_of, url_parts
from jobs.alerts.channels.text import subject, text
from jobs.exceptions import DeliveryFailed
from jobs.models import Alert, AlertMessage

# Their records contain the URLs of services, which contain tokens.
_LOGGERS: Final = ("apprise", "urllib3.connectionpool")

# A context variable: Apprise may use threads.
_captured: ContextVar[list[str] | None] = ContextVar("captured", default=None)


class _Capture(logging.Filter):
    """Keeps records of a delivery from handlers; collects warnings and errors."""

    def filter(self, record: logging.LogRecord) -> bool:
        lines = _captured.get()
        if lines is not None and record.levelno >= logging.WARNING:
            lines.append(record.getMessage())
        return lines is None


_capture: Final = _Capture()


@contextmanager
def _captured_logs() -> Iterator[list[str]]:
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_capture)  # once
    lines: list[str] = []
    token = _captured.set(lines)
    try:
        yield lines
    finally:
        _captured.reset(token)


def _is_url(value: str) -> bool:
    import apprise  # noqa: PLC0415 - an extra, and slow to import

    with _captured_logs():
        return bool(apprise.Apprise().add(value))


class AppriseChannel(Channel):
    """A notification to each of `urls`, in the syntax of Apprise."""

    KEYS: ClassVar = {"urls": list_of("URLs of Apprise", _is_url)}
    REQUIRED: ClassVar = frozenset({"urls"})

    @classmethod
    def missing_package(cls) -> str:
        is_installed = find_spec("apprise") is not None
        return "" if is_installed else "pip install 'django-job-events[alerts]'"

    def send(self, message: AlertMessage) -> None:
        import apprise  # noqa: PLC0415 - as above

        is_firing = message.state == Alert.State.FIRING
        kind = apprise.NotifyType.FAILURE if is_firing else apprise.NotifyType.SUCCESS
        with _captured_logs() as lines:
            services = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False))
            services.add(list(self.config["urls"]))
            if not services.notify(text(message), subject(message), notify_type=kind):
                raise DeliveryFailed("Apprise: " + (" ".join(lines) or "not delivered."))

    def secrets(self) -> Iterator[str]:
        for url in self.config["urls"]:
            yield from (url, *url_parts(url.partition("://")[2]))
