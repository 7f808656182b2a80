"""Live delivery: following logs from a cursor, shared by all subscribers of an event loop.

    subscription    `subscribe`, `follow` and `await_events`
    hub             all topics of an event loop
    topic           one log and its subscribers
    subscriber      one reader: catch-up, then tail
    stream_reader   XREAD BLOCK over many streams
    ring_buffer     the latest events of a topic, encoded once
    continuity      detects that Redis lost events that were delivered
    messages, frames   messages, and their encodings for SSE and WebSocket
    multiplexer     several logs on one connection
    replay          a recorded log at its original pace
    presence        when a job was last watched
    shutdown, asgi  graceful shutdown, and streaming responses without a Django request

Imports `events.history`, `events.streams` and the leaf modules of `events`.
"""

from events.live.subscription import await_events, disconnect_all, follow, is_watched, subscribe

__all__ = ["await_events", "disconnect_all", "follow", "is_watched", "subscribe"]
