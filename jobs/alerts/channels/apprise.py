"""Alert messages through the services of Apprise (extra `alerts`)."""

from typing import ClassVar

from jobs.alerts.channels.base import Channel, list_of
from jobs.models import AlertMessage


def _is_url(value: str) -> bool:
    try:
        import apprise  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        return False
    return bool(apprise.Apprise().add(value))


class AppriseChannel(Channel):
    """A notification to each of `urls`, in the syntax of Apprise."""

    KEYS: ClassVar = {"urls": list_of("URLs of Apprise; it requires the extra `alerts`", _is_url)}
    REQUIRED: ClassVar = frozenset({"urls"})

    def send(self, message: AlertMessage) -> None:
        raise NotImplementedError
