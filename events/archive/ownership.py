"""Ownership: one archive copies and trims the streams of a Redis database and prefix.

Two archives would each copy some of the events, and trim those that the other has not copied. The
first one stores its id in Redis; others refuse to work.
"""

from collections.abc import Callable
from time import monotonic
from typing import Final

from events.codec import text_of
from events.conf import event_settings
from events.exceptions import EventsError, StreamsOwned
from events.models import ArchiveIdentity
from events.streams.clients import get_redis, send_pipeline
from events.streams.keys import StreamKeys

_CHECK_SECONDS: Final = 1.0


def claim_streams(*, force: bool = False) -> None:
    """Store the id of this archive in Redis; with `force`, replace that of another.

    Raises StreamsOwned, RedisUnavailable and django.db.Error.
    """
    own = str(ArchiveIdentity.objects.get_or_create(pk=ArchiveIdentity.PK)[0].uuid)
    key = StreamKeys(event_settings.STREAM_PREFIX).owner
    condition = () if force else ("NX",)
    _check(_owner(("SET", key, own, *condition)), own)


def check_owner() -> None:
    """Raise StreamsOwned if the streams belong to another archive; writes nothing."""
    archive = ArchiveIdentity.objects.filter(pk=ArchiveIdentity.PK).first()
    _check(_owner(), str(archive.uuid) if archive else "")


class RepeatedClaim:
    """The claim of a processor, repeated every second: Redis may have lost it."""

    def __init__(self) -> None:
        self._due_at = float("-inf")

    def before(self, step: Callable[[], int]) -> Callable[[], int]:
        """Return a step that claims the streams first, unless another step has just done so."""

        def claim_and_step() -> int:
            if monotonic() >= self._due_at:
                claim_streams()
                self._due_at = monotonic() + _CHECK_SECONDS
            return step()

        return claim_and_step


def _owner(*first: tuple[str, ...]) -> str:
    """Send commands, then return the owner; empty without one, or if Redis refuses to tell."""
    key = StreamKeys(event_settings.STREAM_PREFIX).owner
    *_, owner = send_pipeline(get_redis(), [*first, ("GET", key)])
    return "" if owner is None or isinstance(owner, EventsError) else text_of(owner)


def _check(owner: str, own: str) -> None:
    if owner not in ("", own):
        prefix = event_settings.STREAM_PREFIX
        raise StreamsOwned(
            f"The streams {prefix}* in this Redis belong to archive {owner}, not to that of this"
            f" database ({own or 'which has none yet'})."
        )
