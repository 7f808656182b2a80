"""Base class of the kinds of channels."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final
from urllib.parse import quote, unquote

from events.codec import replace_invalid
from events.conf import Rule, secrets_of_settings
from events.error_report import error_message, error_type
from events.json_size import cut_text
from events.redaction import DEFAULT_REDACTOR, REDACTED
from jobs.exceptions import DeliveryFailed
from jobs.models import AlertMessage

_SEPARATORS: Final = re.compile(r"[/?&=@:,;#]+")
_MAX_ERROR_CHARACTERS: Final = 500
# The replacement of shorter secrets would remove words of the error.
_MIN_SECRET_CHARACTERS: Final = 6


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

    @classmethod
    def missing_package(cls) -> str:
        """Return what to install for channels of this kind; empty if everything is installed."""
        return ""

    @abstractmethod
    def send(self, message: AlertMessage) -> None:
        """Send a message once. Raises any error, ReceiverGone if retries are useless."""

    def secrets(self) -> Iterator[str]:
        """Yield the parts of the configuration that errors and logs must not contain."""
        yield from ()


def describe_error(error: Exception, secrets: Iterable[str] = ()) -> str:
    """Return the type and the first line of an error without secrets."""
    text = replace_invalid(error_message(error, with_causes=True)).partition("\n")[0]
    spellings = _spellings([*secrets, *secrets_of_settings()])
    for secret in sorted(spellings, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    text = cut_text(DEFAULT_REDACTOR.text(text), _MAX_ERROR_CHARACTERS)
    return text if isinstance(error, DeliveryFailed) else f"{error_type(error)}: {text}"


def url_parts(url: str) -> list[str]:
    """Return the parts of a URL, or of a part of it, each of which may be a secret."""
    return _SEPARATORS.split(url)


def _spellings(secrets: list[str]) -> set[str]:
    """Return the secrets as they are and as they are written in URLs."""
    spellings = {each for secret in secrets for each in (secret, unquote(secret), quote(secret))}
    return {each for each in spellings if len(each) >= _MIN_SECRET_CHARACTERS}
