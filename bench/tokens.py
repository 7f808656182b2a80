"""Streamed tokens in a graph, with a handler against without one: `python -m bench.tokens`.

The model streams as fast as LangChain can: a real one leaves a hundred times as long between two
tokens, and the handler the same time for each. So these ratios are the worst there are.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypedDict

import redis
import redis.asyncio
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph

from bench.ratio import compare
from bench.redis import own_redis
from events.integrations.langchain import create_redis_callback_handler
from events.publisher import RedisStreamPublisher, SyncRedisStreamPublisher

TOKENS = 10_000
WORDS = "The outline has five sections , of which two are about tea .".split(" ")  # noqa: SIM905
PAIRS = 11


class Fast(BaseChatModel):
    """Streams its tokens without a pause."""

    @property
    def _llm_type(self) -> str:
        return "fast"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for number in range(TOKENS):
            word = WORDS[number % len(WORDS)]
            yield ChatGenerationChunk(message=AIMessageChunk(content=f" {word}"))

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream():
            yield chunk


class State(TypedDict):
    text: str


class EachToken(BaseCallbackHandler):
    """What is usually written: an append for each token."""

    def __init__(self, client: redis.Redis) -> None:
        self._publisher = SyncRedisStreamPublisher(client)

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        event = {"event_type": "thought", "data": {"text": token}}
        self._publisher.publish_event("each", event)


def graph(think: Callable[..., Any]) -> Any:
    built = StateGraph(State)
    built.add_node("think", think)
    built.add_edge(START, "think")
    return built.compile()


def sync_graph() -> Any:
    def think(_state: State, config: RunnableConfig) -> State:
        return {"text": "".join(str(c.content) for c in Fast().stream("Why?", config))}

    return graph(think)


def async_graph() -> Any:
    async def think(_state: State, config: RunnableConfig) -> State:
        return {"text": "".join([str(c.content) async for c in Fast().astream("Why?", config)])}

    return graph(think)


def with_(handler: object | None) -> RunnableConfig:
    return {"callbacks": [handler]} if handler else {}  # type: ignore[list-item]


def bench_sync(url: str) -> None:
    client, runs = redis.Redis.from_url(url), sync_graph()
    publisher = SyncRedisStreamPublisher(client)

    def ours() -> None:
        handler = create_redis_callback_handler("ours", publisher)
        runs.invoke({"text": ""}, with_(handler))

    def none() -> None:
        runs.invoke({"text": ""})

    def streamed(handler: bool) -> Callable[[], None]:
        def work() -> None:
            ours = create_redis_callback_handler("ours", publisher) if handler else None
            for _ in runs.stream({"text": ""}, with_(ours), stream_mode="messages"):
                pass

        return work

    claim = f"{TOKENS:,} tokens, time without a handler against with it"
    compare(f"invoke: {claim} (at least 0.87)", ours, none, PAIRS)
    compare(f"stream of messages: {claim} (at least 0.87)", streamed(True), streamed(False), PAIRS)
    client.delete("job_events:ours")
    ours()
    runs.invoke({"text": ""}, with_(EachToken(client)))
    appends, each = client.xlen("job_events:ours"), client.xlen("job_events:each")
    print(f"appends: one for each token {each}, ours {appends}: {each / appends:.0f} (at least 5)")
    client.close()


def bench_async(url: str) -> None:
    async def run(use: Callable[[RunnableConfig], Any], handler: bool) -> None:
        client = redis.asyncio.Redis.from_url(url)
        publisher = RedisStreamPublisher(client)
        await use(with_(create_redis_callback_handler("ours", publisher) if handler else None))
        await client.aclose()

    runs = async_graph()

    async def invoked(config: RunnableConfig) -> None:
        await runs.ainvoke({"text": ""}, config)

    async def streamed(config: RunnableConfig) -> None:
        async for _ in runs.astream({"text": ""}, config, stream_mode="messages"):
            pass

    for name, use in (("ainvoke", invoked), ("astream of messages", streamed)):
        compare(
            f"{name}: {TOKENS:,} tokens, time without a handler against with it (at least 0.87)",
            lambda use=use: asyncio.run(run(use, True)),
            lambda use=use: asyncio.run(run(use, False)),
            PAIRS,
        )


def main() -> None:
    with own_redis() as url:
        bench_sync(url)
        bench_async(url)


if __name__ == "__main__":
    main()
