"""Request headers that make a request idempotent."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from rest_framework.exceptions import ValidationError

from events.producer.external import MAX_SEQUENCE
from jobs.api.parameters import Parameter, matching, number
from jobs.api.query import RequestParameters

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
PRODUCER_ID: Final = "Producer-Id"
PRODUCER_EPOCH: Final = "Producer-Epoch"
PRODUCER_SEQUENCE: Final = "Producer-Sequence"
_MAX_EPOCH: Final = 2**31 - 1


def _name(help_text: str) -> Parameter:
    return matching(r"[\x21-\x7e]{1,200}", "1 to 200 visible ASCII characters", help_text)


class IdempotencyHeaders(RequestParameters):
    """The header of a request that may be repeated."""

    headers: ClassVar[Mapping[str, Parameter]] = {
        IDEMPOTENCY_KEY: _name("Identifies the request, which may be repeated.")
    }


class ProducerHeaders(RequestParameters):
    """The headers of a publish request that may be repeated."""

    headers: ClassVar[Mapping[str, Parameter]] = {
        **IdempotencyHeaders.headers,
        PRODUCER_ID: _name(f"Identifies a producer. Requires {PRODUCER_SEQUENCE}."),
        PRODUCER_SEQUENCE: number(1, MAX_SEQUENCE, "Number of the first event."),
        PRODUCER_EPOCH: number(0, _MAX_EPOCH, "Attempt of the job.", default=0),
    }

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a key together with a producer, and a producer without a sequence."""
        key, name, sequence = (
            attrs[header] for header in (IDEMPOTENCY_KEY, PRODUCER_ID, PRODUCER_SEQUENCE)
        )
        if key is not None and name is not None:
            raise ValidationError({PRODUCER_ID: [f"Must not be sent with {IDEMPOTENCY_KEY}."]})
        if name is None and sequence is not None:
            raise ValidationError({PRODUCER_ID: [f"Required with {PRODUCER_SEQUENCE}."]})
        if name is not None and sequence is None:
            raise ValidationError({PRODUCER_SEQUENCE: [f"Required with {PRODUCER_ID}."]})
        return attrs
