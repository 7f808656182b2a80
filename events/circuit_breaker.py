"""Leaving a Redis alone that does not answer."""

from dataclasses import dataclass
from time import monotonic
from typing import Final

_FIRST: Final = 0.5
_LONGEST: Final = 30.0


@dataclass(slots=True)
class CircuitBreaker:
    """How long to leave Redis alone: twice as long after each failure, up to half a minute.

    Each try of a Redis that hangs holds up whoever tries, be it a request or somebody's graph.
    """

    _seconds: float = _FIRST
    _until: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it is too early to try again."""
        return monotonic() < self._until

    def failed(self) -> None:
        """Redis did not answer."""
        self._seconds = min(self._seconds * 2, _LONGEST)
        self._until = monotonic() + self._seconds

    def worked(self) -> None:
        """Redis answered."""
        self._seconds, self._until = _FIRST, 0.0
