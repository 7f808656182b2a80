"""Callback handlers that publish the runs of LangChain and LangGraph to the log of a job.

handlers    RedisCallbackHandler, SyncRedisCallbackHandler; publishing, cancellation
options     RecordOptions: the parts of a run that are recorded
recorder    RunRecorder: from callbacks to events, without I/O
run_state   RunState: a run between its start and its end
extract     text, usage and tags from LangChain's objects
errors      messages and tracebacks of exceptions; LangGraph's control flow
sanitize    Sanitizer: redacted, size-limited JSON values

Imports `events.publisher`, `redaction`, `codec`, `types`, `exceptions` and `circuit_breaker`.
"""

from events.integrations.langchain.handlers import (
    RedisCallbackHandler,
    SyncRedisCallbackHandler,
    create_redis_callback_handler,
)
from events.integrations.langchain.options import RecordOptions
from events.integrations.langchain.recorder import RunRecorder

__all__ = [
    "RecordOptions",
    "RedisCallbackHandler",
    "RunRecorder",
    "SyncRedisCallbackHandler",
    "create_redis_callback_handler",
]
