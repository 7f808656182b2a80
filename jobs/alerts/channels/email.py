"""Alert messages as e-mail, through Django's e-mail backend."""

from email.utils import parseaddr
from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from events.conf import Rule
from jobs.alerts.channels.base import Channel, list_of
from jobs.models import AlertMessage


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
        raise NotImplementedError
