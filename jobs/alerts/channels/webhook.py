"""Alert messages as POST requests, signed as described by Standard Webhooks."""

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterator
from http import HTTPStatus
from time import time
from typing import ClassVar, Final
from urllib.parse import urlsplit

import orjson

from events.conf import Rule
from events.database import aware_time
from jobs.alerts.channels.base import Channel, url_parts
from jobs.alerts.channels.exchange import post
from jobs.exceptions import DeliveryFailed, ReceiverGone
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
        body = orjson.dumps(
            {
                "type": f"alert.{message.state}",
                "timestamp": aware_time(message.created_at).isoformat(),
                "data": message.body,
            }
        )
        headers = signed_headers(self.config["secret"], str(message.pk), body)
        allow_private = self.config.get("allow_private", False)
        status = post(self.config["url"], body, headers, allow_private=allow_private)
        if status == HTTPStatus.GONE:
            raise ReceiverGone
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise DeliveryFailed(f"The receiver responds with HTTP {status}.{_hint(status)}")

    def secrets(self) -> Iterator[str]:
        url, secret = urlsplit(self.config["url"]), self.config["secret"]
        yield from (secret, secret.removeprefix(_SECRET_PREFIX), url.path, url.query)
        yield from url_parts(f"{url.path}?{url.query}")


def signed_headers(secret: str, message_id: str, body: bytes) -> dict[str, str]:
    """Return the headers of an attempt, of which only the time and the signature are new."""
    timestamp = str(int(time()))
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    signature = b64encode(hmac.digest(_key(secret), signed, "sha256")).decode()
    return {
        "Content-Type": "application/json",
        "User-Agent": "django-job-events",
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }


def _hint(status: int) -> str:
    is_redirect = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
    return " Redirects are not followed." if is_redirect else ""
