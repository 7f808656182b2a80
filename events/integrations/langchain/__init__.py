"""A callback handler that publishes what a LangChain or LangGraph run does.

handlers    the two handlers, sync and async
options     what is recorded, field by field
recorder    from callbacks to events, without I/O
run_state, extract, sanitize, tracebacks, interrupts   parts of the recorder
"""

from events.integrations.langchain.handlers import (
    GraphCancelled,
    RecordOptions,
    RedisCallbackHandler,
    RunRecorder,
    SyncRedisCallbackHandler,
    create_redis_callback_handler,
)

__all__ = [
    "GraphCancelled",
    "RecordOptions",
    "RedisCallbackHandler",
    "RunRecorder",
    "SyncRedisCallbackHandler",
    "create_redis_callback_handler",
]
