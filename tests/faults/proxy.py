"""TCP proxy in front of Redis that drops or delays planned commands and replies.

It parses the Redis protocol. Planned acts apply to script calls only, which are what publishers
send; all other commands, such as the handshake of a client, pass. It runs in threads, so that it
serves sync clients, event loops and forks.
"""

import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from time import sleep

_CALLS = {b"EVALSHA", b"EVAL"}
_LINES = b"+-:,#_("
_BULKS = b"$!="
_LISTS = {b"*": 1, b"~": 1, b">": 1, b"%": 2}
_DELAY_SECONDS = 0.05


class Act(Enum):
    """What happens to a command and its reply."""

    PASS = auto()
    SLOW = auto()  # the reply is delayed, but arrives before the timeout
    LOST_BEFORE = auto()  # the connection is reset before Redis receives the command
    LOST_AFTER = auto()  # the connection is reset after Redis has run the command
    HALF = auto()  # the connection is reset in the middle of the reply
    SWALLOWED = auto()  # the command is dropped
    MUTE = auto()  # the reply is dropped
    HELD = auto()  # the command is sent to Redis by `release`


def end_of_message(data: bytes, start: int = 0) -> int | None:
    """Return the end of the RESP message that begins at `start`, or None if it is incomplete."""
    stop = data.find(b"\r\n", start)
    if stop < 0:
        return None
    kind, head = data[start : start + 1], data[start + 1 : stop]
    stop += 2
    if kind in _BULKS:
        stop += int(head) + 2 if int(head) >= 0 else 0  # -1 is null
        return stop if stop <= len(data) else None
    for _ in range(_LISTS[kind] * int(head) if kind not in _LINES else 0):
        following = end_of_message(data, stop)
        if following is None:
            return None
        stop = following
    return stop


class _Messages:
    """Iterates over the messages from a socket."""

    def __init__(self, source: socket.socket) -> None:
        self._source = source

    def __iter__(self) -> Iterator[bytes]:
        buffer = b""
        with suppress(OSError):
            while data := self._source.recv(65536):
                buffer += data
                while buffer and (end := end_of_message(buffer)) is not None:
                    yield buffer[:end]
                    buffer = buffer[end:]


class Proxy:
    """Listens on a local port for a Redis on a unix socket."""

    def __init__(self, redis_socket: Path) -> None:
        self._redis_socket = str(redis_socket)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.calls = 0
        self._acts: deque[Act] = deque()
        self._refused = 0
        self._lock = threading.Lock()
        self._open: list[_Link] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def plan(self, *acts: Act) -> None:
        """Set what happens to the next calls, on any connection; later ones pass."""
        with self._lock:
            self._acts = deque(acts)

    def redirect(self, redis_socket: Path) -> None:
        """Connect new clients to another Redis; open connections remain."""
        self._redis_socket = str(redis_socket)

    def refuse(self, count: int) -> None:
        """Close the next connections at once."""
        self._refused = count

    def pending(self) -> int:
        """Return the number of planned acts that have not happened."""
        return len(self._acts)

    def held(self) -> int:
        """Return the number of commands that are held."""
        return sum(len(link.held) for link in self._links())

    def release(self) -> None:
        """Send the held commands to Redis and wait for their replies."""
        for link in self._links():
            link.release()

    def reset(self) -> None:
        """Reset every connection."""
        for link in self._links():
            link.abort()

    def stop(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        for link in self._links():
            link.close()

    def next_act(self, command: bytes) -> Act:
        if _name(command) not in _CALLS:
            return Act.PASS
        with self._lock:
            self.calls += 1
            return self._acts.popleft() if self._acts else Act.PASS

    def _links(self) -> list["_Link"]:
        with self._lock:
            return list(self._open)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._refused > 0:
                    self._refused -= 1
                    _reset(client)
                    continue
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                link = _Link(self, client, self._redis_socket)
                with self._lock:
                    self._open.append(link)
                link.start()


class _Link:
    """A client connection and its connection to Redis."""

    def __init__(self, proxy: Proxy, client: socket.socket, redis_socket: str) -> None:
        self._proxy = proxy
        self._client = client
        self._redis = socket.socket(socket.AF_UNIX)
        self._redis.connect(redis_socket)
        self._sent: deque[Act] = deque()
        self.held: list[bytes] = []
        self._threads = [
            threading.Thread(target=target, daemon=True) for target in (self._up, self._down)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def _up(self) -> None:
        for command in _Messages(self._client):
            act = self._proxy.next_act(command)
            if act is Act.LOST_BEFORE:
                self.abort()
                break
            if act is Act.HELD:
                self.held.append(command)
            elif act is not Act.SWALLOWED:
                self._sent.append(act)
                with suppress(OSError):
                    self._redis.sendall(command)
        if not self.held:
            _end(self._redis)

    def _down(self) -> None:
        for reply in _Messages(self._redis):
            act = self._sent.popleft()
            with suppress(OSError):
                if act is Act.SLOW:
                    sleep(_DELAY_SECONDS)
                if act in (Act.PASS, Act.SLOW):
                    self._client.sendall(reply)
                elif act is Act.HALF:
                    self._client.sendall(reply[: len(reply) // 2])
                    sleep(0.005)  # the client reads the half before the reset
            if act in (Act.HALF, Act.LOST_AFTER):
                self.abort()
        _end(self._client)

    def release(self) -> None:
        """Send the held commands to Redis, even if the client has disconnected."""
        while self.held:
            answered = len(self._sent)
            self._sent.append(Act.MUTE)
            self._redis.sendall(self.held.pop(0))
            while len(self._sent) > answered:
                sleep(0.001)

    def abort(self) -> None:
        _reset(self._client)
        if not self.held:
            _end(self._redis)

    def close(self) -> None:
        self.held.clear()
        self.abort()
        for thread in self._threads:
            thread.join(5)
        self._client.close()
        self._redis.close()


def _name(command: bytes) -> bytes:
    return command.split(b"\r\n", 3)[2].upper()


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


def _reset(end: socket.socket) -> None:
    """Reset a connection, even if a fork has a copy of the socket."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def proxied(redis_socket: Path) -> Iterator[Proxy]:
    proxy = Proxy(redis_socket)
    try:
        yield proxy
    finally:
        proxy.stop()
