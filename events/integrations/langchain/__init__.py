"""Callback handlers that publish the runs of LangChain and LangGraph to the log of a job.

handlers    RedisCallbackHandler, SyncRedisCallbackHandler; publishing, cancellation
options     RecordOptions: the parts of a run that are recorded
recorder    RunRecorder: from callbacks to events, without I/O
run_state   RunState: a run between its start and its end
extract     text, usage and errors from LangChain's objects
sanitize    Sanitizer: redacted, size-limited JSON values
tracebacks  tracebacks limited to the frames of the user
interrupts  LangGraph's control-flow exceptions

Imports `events.publisher`, `redaction`, `codec`, `types`, `exceptions` and `circuit_breaker`.
"""

from events.integrations.langchain.handlers import (
    GraphCancelled,
    RedisCallbackHandler,
    SyncRedisCallbackHandler,
    create_redis_callback_handler,
)
from events.integrations.langchain.options import RecordOptions
from events.integrations.langchain.recorder import RunRecorder

__all__ = [
    "GraphCancelled",
    "RecordOptions",
    "RedisCallbackHandler",
    "RunRecorder",
    "SyncRedisCallbackHandler",
    "create_redis_callback_handler",
]
