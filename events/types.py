"""Types of the log: job ids, cursors, producers and events."""

import re
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple, Self

import orjson

from events.error_text import ErrorText
from events.exceptions import InvalidCursor, InvalidJobId

Order = Literal["asc", "desc"]

UNKNOWN: Final = "unknown"

_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CURSOR = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")
_PRODUCER = re.compile(r"([A-Za-z0-9_-]{1,32}):([0-9]{1,18}):([0-9]{1,18})")
_SHOWN: Final = 80
_MAX_PART: Final = 2**64 - 1  # Redis stores each part of an id in 64 bits


class EventType(StrEnum):
    """The event types that this project publishes; any other string is allowed too."""

    TASK_STARTED = "task_started"
    TASK_PROGRESS = "task_progress"
    TASK_COMPLETED = "task_completed"
    TASK_FAILED = "task_failed"
    OUTLINE_GENERATED = "outline_generated"
    DOCUMENT_GENERATED = "document_generated"
    PHASE_UPDATE = "phase_update"
    PHASE_RESULT = "phase_result"
    THOUGHT = "thought"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    ERROR = "error"
    DONE = "done"
    MODEL_CALL = "model_call"
    MODEL_RESULT = "model_result"
    RETRIEVER_CALL = "retriever_call"
    RETRIEVER_RESULT = "retriever_result"
    CUSTOM_EVENT = "custom_event"
    SPAN_STARTED = "span_started"
    SPAN_FINISHED = "span_finished"
    RETRY = "retry"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    UNKNOWN = UNKNOWN


def check_job_id(value: object) -> str:
    """Return `value` if it is a job_id; raise InvalidJobId otherwise."""
    if isinstance(value, str) and _JOB_ID.fullmatch(value):
        return value
    raise InvalidJobId(
        ErrorText(
            "A job_id is 1 to 64 of the characters A-Z, a-z, 0-9, _ and -. Given: %(value)s.",
            value=shown(value),
        )
    )


def shown(value: object) -> str:
    """Return `value` quoted and shortened, for an error message."""
    if isinstance(value, str | bytes):
        value = value[:_SHOWN]
    try:
        text = ascii(value)
    except (ValueError, RecursionError):  # thousands of digits, thousands of levels
        text = f"a value of type {type(value).__name__} that is too large to show"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 4]}...{text[-1]}"


class Cursor(NamedTuple):
    """The position after the event with this id, `<ms>-<seq>` as assigned by Redis."""

    ms: int
    seq: int

    @classmethod
    def parse(cls, value: object) -> Self:
        """Parse an event id, or `0` for the start. Larger parts count as the maximum.

        Raises InvalidCursor.
        """
        if isinstance(value, cls):
            return value
        if value == "0":
            return cls(0, 0)
        match = _CURSOR.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise InvalidCursor(
                ErrorText(
                    "A cursor is an event id, <ms>-<seq>, or 0 for the start of the log."
                    " Given: %(value)s.",
                    value=shown(value),
                )
            )
        return cls(*(min(int(part), _MAX_PART) for part in match.groups()))

    def next(self) -> Self | None:
        """The smallest id after this one; None after the largest."""
        if self.seq < _MAX_PART:
            return type(self)(self.ms, self.seq + 1)
        return type(self)(self.ms + 1, 0) if self.ms < _MAX_PART else None

    def previous(self) -> Self | None:
        """The largest id before this one; None before the smallest."""
        if self.seq > 0:
            return type(self)(self.ms, self.seq - 1)
        return type(self)(self.ms - 1, _MAX_PART) if self.ms > 0 else None

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"


START: Final = Cursor(0, 0)
MAX_CURSOR: Final = Cursor(_MAX_PART, _MAX_PART)
OUTBOX: Final = "outbox"
# The type of the event that reports what Redis lost.
EVENTS_LOST: Final = "events_lost"


class Producer(NamedTuple):
    """The producer of an event: `<producer id>:<epoch>:<sequence number>`.

    The producer id of transactional events is `outbox`, with one sequence per job. `epoch` is the
    attempt of the job, or 0.
    """

    id: str
    epoch: int
    sequence: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Parse the field of an entry; return None for other producers' text."""
        match = _PRODUCER.fullmatch(text)
        return cls(match[1], int(match[2]), int(match[3])) if match else None

    @staticmethod
    def is_one(text: str) -> bool:
        return _PRODUCER.fullmatch(text) is not None

    def __str__(self) -> str:
        return f"{self.id}:{self.epoch}:{self.sequence}"


class Event(NamedTuple):
    """One entry of a job's log.

    `id` is `<ms>-<seq>`, `timestamp` ISO 8601, `raw` the event dict as JSON on one line;
    `producer` is a Producer as text, or empty for an external producer.
    """

    id: str
    job_id: str
    event_type: str
    timestamp: str
    raw: bytes
    producer: str = ""

    @property
    def data(self) -> dict[str, Any]:
        """The event dict, parsed on each access; `{"raw": <text>}` for an entry without one."""
        data: dict[str, Any] = orjson.loads(self.raw)
        return data

    @property
    def cursor(self) -> Cursor:
        return Cursor.parse(self.id)
