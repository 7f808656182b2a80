"""Streams in Redis: their keys, and the state that an archiver keeps of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from events.archive import store
from events.conf import event_settings
from events.streams import commands
from events.streams.clients import get_redis, run
from events.streams.commands import Keys
from events.streams.keys import StreamKeys
from events.types import Cursor

_SCAN_COUNT: Final = 1000


def scan_streams() -> Iterator[list[str]]:
    """Yield the keys of streams with the configured prefix, one SCAN reply at a time."""
    client, pattern = get_redis(), StreamKeys(event_settings.STREAM_PREFIX).pattern
    cursor = "0"
    while True:
        reply = run(client, commands.scan(cursor, pattern, _SCAN_COUNT))
        cursor, names = commands.scanned(reply)
        yield names
        if cursor == "0":
            return


@dataclass(slots=True, eq=False)
class StreamState:
    """A stream and its archived position as of this archiver's last read.

    Times are of `time.monotonic()`: `retry_at` is the next attempt after an error,
    `completion_check_at` the next query whether the job is over.
    """

    job_id: str
    log_id: int
    position: Cursor
    stalled: bool = False
    retry_at: float = 0.0
    expiring: bool = False
    completion_check_at: float = 0.0

    @property
    def keys(self) -> Keys:
        """The keys of the stream and of its producer state."""
        return StreamKeys(event_settings.STREAM_PREFIX).pair(self.job_id)

    def advance(self, position: Cursor) -> None:
        """Record that the stream is archived up to a position."""
        self.position = position
        self.stalled = self.expiring = False

    def clear_error(self) -> None:
        """Clear the error of a stalled log: the stream has no entry that is not archived."""
        if self.stalled:
            self.stalled = False
            store.clear_error(self.log_id)
