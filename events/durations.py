"""Durations as text, in the language of the request."""

from typing import Final

from django.utils.formats import number_format

_MINUTE: Final = 60
_HOUR: Final = 3600
# Rounded, a duration is a second or a minute from here on.
_SECOND_FROM: Final = 0.9995
_MINUTE_FROM: Final = 59.995


def span_text(seconds: float) -> str:
    """Return a duration as `formatMs` of time-format.js does: "12 ms", "6.30 s", "2 min 5 s"."""
    if seconds < _SECOND_FROM:
        return f"{max(0, round(seconds * 1000))} ms"
    if seconds < _MINUTE_FROM:
        return f"{number_format(round(seconds, 2), decimal_pos=2)} s"
    size, units = (_MINUTE, ("min", "s")) if seconds < _HOUR else (_HOUR, ("h", "min"))
    counts = divmod(round(seconds * 60 / size), 60)
    return " ".join(
        f"{number_format(n)} {unit}" for n, unit in zip(counts, units, strict=True) if n
    )
