"""Where a log and what was read of it agree, and how a channel goes on from there."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from events.conf import event_settings
from events.exceptions import CursorExpired
from events.history.reader import aread_events
from events.live.ring_buffer import MOST_BYTES, MOST_EVENTS
from events.live.topic import Topic
from events.types import START, Cursor, Event

_LATEST: Final = 32
_PAGE: Final = 100


async def verify_continuity(channel: Topic, confirm: Callable[[], Awaitable[None]]) -> None:
    """Read the log's end, or where it went on; the channel is read then."""
    if channel.generation == 0:
        latest = await _latest(channel)
        await confirm()
        channel.begin(latest)
        return
    common, set_back = await _common(channel)
    try:
        news, is_all = await _after(channel, common)
    except CursorExpired as cut:
        common, news, is_all = Cursor.parse(cut.after), [], False
    latest = [] if is_all else await _latest(channel)
    again = await _lost_before(channel, common)
    await confirm()
    channel.go_on(common, set_back=set_back, again=again)
    if is_all:
        channel.add(news)
    elif latest:
        channel.skip_to(latest)


async def _after(channel: Topic, cursor: Cursor) -> tuple[list[Event], bool]:
    """What follows a cursor, as far as it fits into a ring, and whether that is all."""
    events, size = list[Event](), 0
    while len(events) < MOST_EVENTS and size < MOST_BYTES:
        page = await aread_events(channel.job_id, after=cursor, limit=_PAGE)
        events += page
        if len(page) < _PAGE:
            return events, True
        size += sum(len(event.raw) for event in page)
        cursor = page[-1].cursor
    return events, False


async def _lost_before(channel: Topic, common: Cursor) -> list[Event]:
    """What the log has from the first place on at which something was lost, up to a cursor."""
    first, again = channel.given.first_lost(), list[Event]()
    after = first.previous() if first is not None else None
    while after is not None and after < common:
        try:
            page = await aread_events(
                channel.job_id, after=after, before=common.next(), limit=event_settings.PAGE_LIMIT
            )
        except CursorExpired as cut:
            after = Cursor.parse(cut.after)
            continue
        again += page
        after = page[-1].cursor if page else None
    return again


async def _latest(channel: Topic) -> list[Event]:
    latest = await aread_events(channel.job_id, limit=_LATEST, order="desc")
    return latest[::-1]


async def _common(channel: Topic) -> tuple[Cursor, bool]:
    """Up to where the log is what was read of it, and whether it has others after that.

    Where the log has what was read last, it has nothing else before that: an entry is never given
    a place before another that is there.
    """
    before, set_back = channel.high.next(), False
    while True:
        events: Sequence[Event] = await aread_events(
            channel.job_id, before=before, limit=_PAGE, order="desc"
        )
        for event in events:
            if event.cursor <= channel.given.start or channel.given.has(event):
                return event.cursor, set_back
            set_back = set_back or not channel.given.knows(event)
        if len(events) < _PAGE:
            return START, set_back
        before = events[-1].cursor
