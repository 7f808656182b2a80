"""Producers that callers identify: external programs, and idempotency keys of publish calls."""

import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

from events.codec import encode_event, encode_events
from events.conf import event_settings
from events.exceptions import EventsError, InvalidEvent
from events.metrics.instruments import PUBLISH_ERRORS, PUBLISHED, error_label
from events.streams import commands
from events.streams.clients import get_redis, send_command
from events.streams.keys import StreamKeys
from events.streams.pubsub import mirror_channel
from events.streams.scripts import mirrored
from events.types import shown

# Lua numbers are floating point.
MAX_SEQUENCE: Final = 2**53 - 2**20
MAX_KEY_CHARS: Final = 200
# Stands for the timestamp of an event without one; no event can have it.
_NO_TIMESTAMP: Final = "-"


def publish_sequenced(
    job_id: str,
    events: Sequence[Mapping[str, Any]],
    *,
    producer: Sequence[str],
    epoch: int = 0,
    sequence: int,
    mirror: bool = True,
) -> list[str]:
    """Append events, the first with the number `sequence`, all or none; return their ids.

    The last call of a producer and epoch may be repeated, for at least two hours: it is appended
    once. `producer` is the name of the producer in parts, such as a user's key and a name of
    theirs. `epoch` is the job's attempt for which it publishes, 0 for none in particular. With
    `mirror=False`, MIRROR_PUBSUB does not apply.

    Raises InvalidJobId, InvalidEvent, EventTooLarge, OutOfOrderSequence, ProducerFenced,
    LogDeleted, NotAStream, RedisUnavailable, RedisCommandError.
    """
    keys = StreamKeys(event_settings.STREAM_PREFIX).pair(job_id)
    encoded = encode_events(events, limit=event_settings.MAX_EVENT_BYTES)
    if not encoded:
        return []
    # The id has 24 characters; those of publishers have 12, those of idempotency keys 32.
    numbered = (digest_of(producer), epoch, sequence)
    command = commands.append_in_order(keys, numbered, encoded)
    command = mirrored(command, mirror_channel(job_id) if mirror else "")
    try:
        ids = commands.ids_of_append(send_command(get_redis(), command), len(encoded))
    except EventsError as error:
        PUBLISH_ERRORS.add(1, "external", error_label(error))
        raise
    PUBLISHED.add(len(ids), "external")
    return ids


def idempotency_id(key: object, events: Iterable[Mapping[str, Any]]) -> str:
    """Return the producer id for an idempotency key: 16 characters for it, 16 for the content.

    The content is the encoded events, without timestamps that the caller did not give. Raises
    InvalidEvent.
    """
    if not isinstance(key, str) or not 1 <= len(key) <= MAX_KEY_CHARS:
        raise InvalidEvent(
            f"idempotency_key is text of 1 to {MAX_KEY_CHARS} characters. Given: {shown(key)}."
        )
    content = [encode_event(each, limit=sys.maxsize, now=_NO_TIMESTAMP)[0] for each in events]
    name = key.encode("utf-8", "surrogatepass")
    return urlsafe_b64encode(_digest([name]) + _digest(content)).decode()


def digest_of(names: Iterable[str]) -> str:
    """Return 24 hexadecimal digits that identify a list of texts."""
    return _digest([name.encode("utf-8", "surrogatepass") for name in names]).hex()


def _digest(parts: Iterable[bytes]) -> bytes:
    digest = blake2b(digest_size=12)
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()
