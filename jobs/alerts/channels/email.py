"""Alert messages as e-mail, through Django's e-mail backend."""

from collections.abc import Iterator
from email.utils import parseaddr
from typing import Any, ClassVar, Final

from django.core import mail
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from events.conf import Rule
from jobs.alerts.channels.base import Channel, list_of
from jobs.alerts.channels.text import subject, text
from jobs.models import AlertMessage

# Of each command, unless the project has a timeout: without one, a server that hangs blocks.
_TIMEOUT_SECONDS: Final = 20.0


def _is_address(value: object) -> bool:
    if not isinstance(value, str) or not value.isprintable():
        return False
    try:
        validate_email(parseaddr(value)[1])
    except ValidationError:
        return False
    return True


class EmailChannel(Channel):
    """E-mail to `to`, from `from` or DEFAULT_FROM_EMAIL."""

    KEYS: ClassVar = {
        "to": list_of("e-mail addresses", _is_address),
        "from": Rule("an e-mail address", _is_address),
    }
    REQUIRED: ClassVar = frozenset({"to"})

    def send(self, message: AlertMessage) -> None:
        email = mail.EmailMessage(
            subject(message), text(message), self.config.get("from"), self.config["to"]
        )
        domain = parseaddr(email.from_email)[1].rpartition("@")[2]
        email.extra_headers = {
            # The same in each attempt, also by another machine.
            "Message-ID": f"<{message.pk}@{domain}>",
            "Auto-Submitted": "auto-generated",
        }
        _connection().send_messages([email])

    def secrets(self) -> Iterator[str]:
        for name in ("username", "password"):
            yield str(getattr(_connection(), name, "") or "")


def _connection() -> Any:
    """Return the e-mail backend of the project, from Django 6.1 the default of MAILERS."""
    mailers = getattr(mail, "mailers", None)
    connection: Any = mailers.default if mailers else mail.get_connection()
    if getattr(connection, "timeout", 0) is None:
        connection.timeout = _TIMEOUT_SECONDS
    return connection
