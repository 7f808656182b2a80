"""Token counts and cost of model calls, from `model_result` events."""

from collections.abc import Mapping
from typing import Any, Final

from events.codec import replace_invalid
from jobs.conf import is_price, job_settings

Usage = dict[str, dict[str, int]]

INPUT: Final = "input_tokens"
OUTPUT: Final = "output_tokens"
_TOKENS_PER_PRICE: Final = 1_000_000
_MAX_MODELS: Final = 20
_MAX_NAME_CHARACTERS: Final = 100
_MAX_COUNT: Final = 10**12
# The name of further models, and of models without a name.
_OTHER: Final = "other"


def add_usage(total: Usage, data: Mapping[str, Any]) -> None:
    """Add the call that a `model_result` event reports to `total`, which is a dict by model.

    The event is that of any producer: invalid values count as 0.
    """
    nested = data.get("data")
    fields = nested if isinstance(nested, Mapping) else data
    model, usage = fields.get("model"), fields.get("usage")
    name = replace_invalid(model)[:_MAX_NAME_CHARACTERS] if isinstance(model, str) else ""
    if not name or (name not in total and len(total) >= _MAX_MODELS):
        name = _OTHER
    counts = total.setdefault(name, {"calls": 0, INPUT: 0, OUTPUT: 0})
    counts["calls"] += 1
    for key in (INPUT, OUTPUT):
        counts[key] += _count(usage.get(key)) if isinstance(usage, Mapping) else 0


def _count(value: object) -> int:
    is_valid = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_COUNT
    return int(value) if is_valid else 0  # type: ignore[call-overload]  # an int


def tokens_of(usage: Usage) -> int:
    """Return the number of input and output tokens of all models."""
    return sum(counts[INPUT] + counts[OUTPUT] for counts in usage.values())


def cost_of(usage: Usage) -> float | None:
    """Return the cost by the setting MODEL_PRICES; None if none of the models has a price."""
    costs = [
        (counts[INPUT] * price["input"] + counts[OUTPUT] * price["output"]) / _TOKENS_PER_PRICE
        for model, counts in usage.items()
        if (price := _price(model)) is not None
    ]
    return sum(costs) if costs else None


def _price(model: str) -> Mapping[str, float] | None:
    """Return the price whose key is the longest start of the name: names may end with a date."""
    setting: object = job_settings.MODEL_PRICES
    items = setting.items() if isinstance(setting, Mapping) else ()
    # Invalid ones, which the system check reports, must not stop the archiver.
    prices = {key: price for key, price in items if is_price((key, price))}
    key = max((key for key in prices if model.startswith(key)), key=len, default=None)
    return None if key is None else prices[key]
