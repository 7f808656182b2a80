"""Alert messages as POST requests, signed as described by Standard Webhooks."""

import binascii
from base64 import b64decode
from typing import ClassVar, Final
from urllib.parse import urlsplit

from events.conf import Rule
from jobs.alerts.channels.base import Channel
from jobs.models import AlertMessage

_SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - no secret
# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
_MIN_SECRET_BYTES: Final = 24
_MAX_SECRET_BYTES: Final = 64


def _is_url(value: object) -> bool:
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        return False
    try:
        url = urlsplit(value)
        has_port = url.port != 0
    except ValueError:  # invalid host or port
        return False
    is_plain = " " not in value and "@" not in url.netloc and not url.fragment
    return url.scheme in ("http", "https") and bool(url.hostname) and has_port and is_plain


def _key(secret: str) -> bytes:
    """Return the bytes of a secret. Raises ValueError."""
    if not secret.startswith(_SECRET_PREFIX):
        raise ValueError
    return b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)


def _is_secret(value: object) -> bool:
    try:
        return isinstance(value, str) and (
            _MIN_SECRET_BYTES <= len(_key(value)) <= _MAX_SECRET_BYTES
        )
    except (ValueError, binascii.Error):
        return False


class WebhookChannel(Channel):
    """POST requests to `url`, signed with `secret`.

    Addresses that are not public are refused, unless `allow_private` is True.
    """

    KEYS: ClassVar = {
        "url": Rule("an http:// or https:// URL in ASCII, without user and fragment", _is_url),
        "secret": Rule(
            f"{_SECRET_PREFIX} and {_MIN_SECRET_BYTES} to {_MAX_SECRET_BYTES} bytes in base64",
            _is_secret,
        ),
        "allow_private": Rule("True or False", lambda value: isinstance(value, bool)),
    }
    REQUIRED: ClassVar = frozenset({"url", "secret"})

    def send(self, message: AlertMessage) -> None:
        raise NotImplementedError
