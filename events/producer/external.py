"""Publishing for producers that count their events by themselves: programs behind the API."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

from events.codec import encode_events
from events.conf import event_settings
from events.streams import commands
from events.streams.clients import get_redis, send_command
from events.streams.keys import StreamKeys

# Redis counts in floating point numbers.
LARGEST_NUMBER: Final = 2**53 - 2**20


def publish_sequenced(
    job_id: str,
    events: Sequence[Mapping[str, Any]],
    *,
    producer: Sequence[str],
    epoch: int = 0,
    sequence: int = 1,
) -> list[str]:
    """Append events, the first with the number `sequence`, all or none; return their ids.

    The last call of a producer and epoch may come again, for an hour at least: it is there once.
    `producer` is what names the producer, such as a user's key and what they call it; `epoch` is
    the attempt of the job for which it works, 0 if for whichever.

    Raises InvalidJobId, InvalidEvent, EventTooLarge, OutOfOrderSequence, ProducerFenced,
    NotAStream,
    RedisUnavailable, RedisCommandError.
    """
    keys = StreamKeys(event_settings.STREAM_PREFIX).pair(job_id)
    encoded = encode_events(events, limit=event_settings.MAX_EVENT_BYTES)
    if not encoded:
        return []
    # None of our own producers has such an id: theirs are shorter.
    numbered = (digest_of(producer), epoch, sequence)
    reply = send_command(get_redis(), commands.append_in_order(keys, numbered, encoded))
    return commands.ids_of_batch(reply, len(encoded))


def digest_of(names: Sequence[str]) -> str:
    """24 hexadecimal digits for some texts; for others, others."""
    digest = blake2b(digest_size=12)
    for name in names:
        digest.update(f"{len(name)}:{name}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
