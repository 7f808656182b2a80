"""Base class of the kinds of channels."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from events.conf import Rule
from jobs.models import AlertMessage


def list_of(allowed: str, holds: Callable[[str], bool]) -> Rule:
    """Return the rule for a list of strings that is not empty."""

    def are_valid(value: object) -> bool:
        if not isinstance(value, list | tuple):
            return False
        return bool(value) and all(isinstance(each, str) and holds(each) for each in value)

    return Rule(f"a list of {allowed}", are_valid)


class Channel(ABC):
    """A target of alert messages; `KEYS` has the rules of its configuration."""

    KEYS: ClassVar[Mapping[str, Rule]] = {}
    REQUIRED: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config

    @abstractmethod
    def send(self, message: AlertMessage) -> None:
        """Send a message once. Raises any error, ReceiverGone if retries are useless."""

    def secrets(self) -> Iterator[str]:
        """Yield the parts of the configuration that errors and logs must not contain."""
        yield from ()
