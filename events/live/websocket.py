"""What a viewer is sent by WebSocket, as JSON text. Does no I/O."""

from dataclasses import asdict
from functools import singledispatch

import orjson

from events.codec import event_json
from events.types import End, Event, KeepAlive, Live, Message, Reset, Restart


@singledispatch
def text(message: Message) -> str:
    """A message as the text of one frame: an object that has a `type`."""
    raise TypeError(f"not a message: {type(message).__name__}")


def naming(control: str, job_id: str) -> str:
    """The text of a control message, with the job that it is about, on a socket of several."""
    return f'{control[:-1]},"job_id":"{job_id}"}}'


@text.register
def _(message: Event) -> str:
    return f'{{"type":"event","event":{event_json(message).decode()}}}'


@text.register
def _(_message: Live) -> str:
    return '{"type":"live"}'


@text.register
def _(message: Reset) -> str:
    return orjson.dumps({"type": "reset", **asdict(message)}).decode()


@text.register
def _(_message: End) -> str:
    return '{"type":"end"}'


@text.register
def _(message: Restart) -> str:
    return f'{{"type":"restart","retry":{message.retry}}}'


@text.register
def _(_message: KeepAlive) -> str:
    # A browser's script is not told of pings, and must find out that its connection is dead.
    return '{"type":"keep-alive"}'
