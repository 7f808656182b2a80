"""Reading a whole stream, where there is no archive."""

from typing import TYPE_CHECKING, Final

from events.conf import event_settings
from events.streams import commands
from events.streams.clients import run
from events.streams.keys import StreamKeys
from events.types import Cursor, Event

if TYPE_CHECKING:
    import redis

_PAGE: Final = 1000


def read_stream(client: "redis.Redis", job_id: str) -> list[Event]:
    """All events of a job that are in Redis. Raises InvalidJobId, NotAStream, RedisUnavailable."""
    key = StreamKeys(event_settings.STREAM_PREFIX).stream(job_id)
    events = list[Event]()
    after: Cursor | None = None
    while command := commands.xrange(key, after=after, before=None, limit=_PAGE, order="asc"):
        page = commands.events_of_xrange(job_id, run(client, command))
        events += page
        if len(page) < _PAGE:
            break
        after = page[-1].cursor
    return events
