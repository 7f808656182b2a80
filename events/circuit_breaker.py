"""Circuit breaker for an unresponsive Redis."""

from dataclasses import dataclass
from time import monotonic
from typing import Final

MIN_OPEN_SECONDS: Final = 1.0
MAX_OPEN_SECONDS: Final = 30.0


@dataclass(slots=True)
class CircuitBreaker:
    """Opens for longer after each failure in a row, up to MAX_OPEN_SECONDS.

    Each call to a Redis that hangs would block a request or a graph until its timeout.
    """

    _next_seconds: float = MIN_OPEN_SECONDS
    _open_until: float = 0.0

    @property
    def is_open(self) -> bool:
        return monotonic() < self._open_until

    def record_failure(self) -> None:
        self._open_until = monotonic() + self._next_seconds
        self._next_seconds = min(self._next_seconds * 2, MAX_OPEN_SECONDS)

    def record_success(self) -> None:
        self._next_seconds, self._open_until = MIN_OPEN_SECONDS, 0.0
