"""The event log of a job: append, archive, read and follow. Independent of `jobs` and `config`.

publisher     RedisStreamPublisher, SyncRedisStreamPublisher
types         Cursor, Event, EventType, Producer
codec         encoding and decoding of stream entries
conf, checks  the setting JOB_EVENTS, and its system checks
exceptions    EventsError and its subclasses
models        event log, archived events, archive checkpoints
redaction     Redactor
streams/      Redis: keys, commands, clients, Lua scripts
producer/     idempotent appends
outbox/       events that are published in a transaction, and their relay
archive/      the SQL tier of the log
history/      read_events over stream and archive; search
live/         delivery to subscribers
processor/    the process behind `manage.py process_events`
execution/    task runs, heartbeats, base class of queue adapters
transfer/     export and republishing
integrations/ Celery, Django tasks, LangChain, LangGraph, uvicorn
testing/      assertions and the pytest fixture `job_events`

Exports nothing itself. PyPI's distribution `Events` installs a package of the same name; whichever
is installed last overwrites this file. No module of ours depends on its content.
"""


def __getattr__(name: str) -> object:
    """Return the classes of the distribution `Events`, if it is installed."""
    if name in ("Events", "EventsException"):
        from importlib import import_module  # noqa: PLC0415 - this namespace stays empty
        from importlib.util import find_spec  # noqa: PLC0415 - as above

        if find_spec("events.events"):
            return getattr(import_module("events.events"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
