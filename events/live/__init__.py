"""Live delivery: subscribers read logs from a cursor on, and share what is read per event loop.

    subscription    `subscribe`, `follow` and `await_events`
    subscriber      one reader: catches up, then tails
    hub             all topics of an event loop; sessions, verification, pages of history
    topic           one log and its subscribers; backpressure
    ring_buffer     the latest events of a topic, encoded once
    stream_reader   XREAD BLOCK over many streams
    continuity      what happens to subscribers after Redis lost events
    completion      when a log ends
    messages, frames   messages, and their encodings for SSE and WebSocket
    multiplexer     several logs on one connection
    replay          a recorded log at its original pace
    presence        when a job was last watched
    shutdown, asgi  graceful shutdown; streaming responses without a Django request
    threads         a bounded number of threads for database calls
    rejection       error responses before Django runs

Imports `events.archive`, `events.history`, `events.streams` and the leaf modules of `events`.
"""

from events.live.subscription import await_events, disconnect_all, follow, is_watched, subscribe

__all__ = ["await_events", "disconnect_all", "follow", "is_watched", "subscribe"]
