"""HTTP responses as a client outside of the proxies receives them."""

import http.client
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

TIMEOUT_SECONDS: Final = 5.0
MAX_REDIRECTS: Final = 3
_REDIRECTS: Final = (301, 302, 307, 308)
_MAX_BODY_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class FirstByte:
    """The start of a response; `seconds` until the first byte of its body.

    Without a byte in time, `seconds` is None; without a head, which a proxy may hold back as well,
    `status` is 0.
    """

    url: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    start: bytes = b""
    seconds: float | None = None


def first_byte(url: str, headers: Mapping[str, str]) -> FirstByte:
    """Request a URL, and wait for the first bytes of the body. Raises OSError, HTTPException.

    Follows redirects.
    """
    for _ in range(MAX_REDIRECTS):
        found = _request(url, headers)
        location = found.headers.get("location", "")
        if found.status not in _REDIRECTS or not location.startswith("http"):
            break
        url = location
    return found


def _request(url: str, headers: Mapping[str, str]) -> FirstByte:
    parts, start, found = urlsplit(url), monotonic(), FirstByte(url)
    is_secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
    with closing(kind(parts.netloc.rpartition("@")[2], timeout=TIMEOUT_SECONDS)) as connection:
        connection.connect()
        with suppress(TimeoutError):
            connection.request("GET", f"{parts.path or '/'}?{parts.query}", headers=dict(headers))
            response = connection.getresponse()
            received = {name.lower(): value for name, value in response.getheaders()}
            found = FirstByte(url, response.status, received)
            body = response.read1(_MAX_BODY_BYTES)
            found = replace(found, start=body, seconds=monotonic() - start)
    return found
