"""A POST request with one deadline for the whole exchange, to an address that is checked.

The name of the host is resolved once, and the connection is made to the address that was checked:
a name that resolves to a private address in a second query (DNS rebinding) has no effect. Redirects
are not followed, and proxies of the environment are not used.
"""

import io
import socket
import ssl
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection
from ipaddress import IPv4Address, IPv6Address, ip_address
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from jobs.exceptions import DeliveryFailed

# From the resolution of the name to the status of the response; the resolver has its own timeout.
EXCHANGE_SECONDS: Final = 15.0
_PORTS: Final = {"http": 80, "https": 443}


def post(url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool) -> int:
    """Send a POST request; return the status of the response, whose body is not read.

    Raises DeliveryFailed, OSError and HTTPException.
    """
    parts = urlsplit(url)
    connection = _CheckedConnection(url, allow_private=allow_private)
    try:
        target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        connection.request("POST", target, body, headers)
        with connection.getresponse() as response:
            return response.status
    except TimeoutError:
        raise DeliveryFailed(f"No response within {EXCHANGE_SECONDS:g} s.") from None
    finally:
        connection.close()


def is_public(address: str) -> bool:
    """Return whether an address, in the form of `getaddrinfo`, is not private or special."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped:
            return _is_global(ip.ipv4_mapped)
        # These contain an IPv4 address, which a router may extract.
        if ip.sixtofour or ip.teredo or ip.is_site_local:
            return False
    return _is_global(ip)


def _is_global(ip: IPv4Address | IPv6Address) -> bool:
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


class _CheckedConnection(HTTPConnection):
    def __init__(self, url: str, *, allow_private: bool) -> None:
        parts = urlsplit(url)
        self.default_port = _PORTS[parts.scheme]
        super().__init__(parts.hostname or "", parts.port or self.default_port)
        self._is_tls = parts.scheme == "https"
        self._allow_private = allow_private
        self._deadline = monotonic() + EXCHANGE_SECONDS

    def connect(self) -> None:
        connected = self._connect()
        try:
            if self._is_tls:
                connected.settimeout(_seconds_until(self._deadline))
                context = ssl.create_default_context()
                connected = context.wrap_socket(connected, server_hostname=self.host)
        except BaseException:
            connected.close()
            raise
        self.sock: Any = _DeadlineSocket(connected, self._deadline)

    def _connect(self) -> socket.socket:
        """Connect to the first address that accepts; each has an equal share of the time."""
        addresses = list(self._addresses())
        for number, (family, address) in enumerate(addresses, 1):
            connected = socket.socket(family, socket.SOCK_STREAM)
            connected.settimeout(_seconds_until(self._deadline) / (len(addresses) - number + 1))
            try:
                connected.connect(address)
            except OSError:
                connected.close()
                if number == len(addresses):
                    raise
            else:
                return connected
        raise DeliveryFailed(
            f"{self.host} has no public address. The key `allow_private` permits others."
        )

    def _addresses(self) -> Iterator[tuple[int, Any]]:
        """Yield the addresses of the host that are allowed."""
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        for family, _type, _protocol, _name, address in found:
            if self._allow_private or is_public(str(address[0])):
                yield family, address


class _DeadlineSocket:
    """A connected socket for HTTPConnection whose operations end at one deadline."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._socket, self._deadline = connected, deadline

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self._socket.settimeout(_seconds_until(self._deadline))
            rest = rest[self._socket.send(rest) :]

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineReader(self._socket, self._deadline))

    def close(self) -> None:
        self._socket.close()


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket until a deadline, however few bytes arrive at a time."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._socket, self._deadline = connected, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._socket.settimeout(_seconds_until(self._deadline))
        return self._socket.recv_into(buffer)


def _seconds_until(deadline: float) -> float:
    """Return the time until a deadline. Raises TimeoutError if it has passed."""
    seconds = deadline - monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds
