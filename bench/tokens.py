"""Token streaming in a graph with and without a callback handler: `python -m bench.tokens`.

The model streams as fast as LangChain allows. In async graphs the event loop runs once per token,
as when reading from a network. Real models are about a hundred times slower, so these ratios are a
lower bound. They include LangChain's cost of calling any handler; a handler that does nothing
measures this cost alone.
"""

import asyncio
import gc
import time
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

from bench import ratio
from bench.redis import temporary_redis
from events.integrations.langchain import create_redis_callback_handler
from events.publisher import RedisStreamPublisher, SyncRedisStreamPublisher

TOKENS = 10_000
WORDS = "The outline has five sections , and two of them are about tea .".split(" ")  # noqa: SIM905
PAIRS = 31
CLAIM = f"{TOKENS:,} tokens, time without a handler against with it"

Work = Callable[[], object]


class FastModel(BaseChatModel):
    """Streams TOKENS tokens with a pause, in seconds, before each."""

    pause: float = 0.0

    @property
    def _llm_type(self) -> str:
        return "fast"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for number in range(TOKENS):
            word = WORDS[number % len(WORDS)]
            if self.pause:
                time.sleep(self.pause)
            yield ChatGenerationChunk(message=AIMessageChunk(content=f" {word}"))

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        for number in range(TOKENS):
            word = WORDS[number % len(WORDS)]
            await asyncio.sleep(0)
            yield ChatGenerationChunk(message=AIMessageChunk(content=f" {word}"))


class State(TypedDict):
    text: str


class TokenPublisher(BaseCallbackHandler):
    """Baseline for the number of appends: one per token."""

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


def sync_graph(pause: float = 0.0) -> Any:
    model = FastModel(pause=pause)

    def think(_state: State, config: RunnableConfig) -> State:
        return {"text": "".join(str(c.content) for c in model.stream("Why?", config))}

    return graph(think)


def async_graph() -> Any:
    async def think(_state: State, config: RunnableConfig) -> State:
        return {
            "text": "".join([str(c.content) async for c in FastModel().astream("Why?", config)])
        }

    return graph(think)


def callbacks_config(handler: object | None) -> RunnableConfig:
    return {"callbacks": [handler]} if handler else {}  # type: ignore[list-item]


class NoopHandler(BaseCallbackHandler):
    run_inline = True

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        pass


def measure(claim: str, ours: Work, baseline: Work, pairs: int = PAIRS) -> None:
    # Keep the collection of the garbage of the previous run out of the measured time.
    ratio.compare(claim, ours, baseline, pairs, prepare=gc.collect)


Handler = Callable[[], object | None]


def no_handler() -> None:
    """Return None: the baseline runs without a handler."""


def bench_sync(url: str) -> None:
    client = redis.Redis.from_url(url)
    publisher = SyncRedisStreamPublisher(client)

    def ours() -> object:
        return create_redis_callback_handler("ours", publisher)

    def invoked(runs: Any, handler: Handler) -> Callable[[], object]:
        return lambda: runs.invoke({"text": ""}, callbacks_config(handler()))

    def streamed(runs: Any, handler: Handler) -> Callable[[], object]:
        return lambda: list(
            runs.stream({"text": ""}, callbacks_config(handler()), stream_mode="messages")
        )

    fast, slow = sync_graph(), sync_graph(pause=0.0002)
    for name, use, runs in (
        ("invoke", invoked, fast),
        ("stream of messages", streamed, fast),
        ("invoke, a model of at most 5,000 tokens per second", invoked, slow),
    ):
        pairs = PAIRS if runs is fast else 3
        measure(f"{name}: {CLAIM} (at least 0.87)", use(runs, ours), use(runs, no_handler), pairs)
    measure(
        f"invoke, a handler that does nothing: {CLAIM}",
        invoked(fast, NoopHandler),
        invoked(fast, no_handler),
    )
    client.delete("job_events:ours")
    invoked(fast, ours)()
    invoked(fast, lambda: TokenPublisher(client))()
    appends, each = client.xlen("job_events:ours"), client.xlen("job_events:each")
    print(f"appends: one per token {each}, ours {appends}: {each / appends:.0f} (at least 5)")
    client.close()


def bench_async(url: str) -> None:
    loop, runs = asyncio.Runner(), async_graph()
    client = redis.asyncio.Redis.from_url(url)
    publisher = RedisStreamPublisher(client)

    async def invoked(config: RunnableConfig) -> None:
        await runs.ainvoke({"text": ""}, config)

    async def streamed(config: RunnableConfig) -> None:
        async for _ in runs.astream({"text": ""}, config, stream_mode="messages"):
            pass

    def ours(publisher: RedisStreamPublisher) -> object:
        return create_redis_callback_handler("ours", publisher)

    def using(use: Any, make: Callable[[RedisStreamPublisher], object | None]) -> Work:
        return lambda: loop.run(use(callbacks_config(make(publisher))))

    for name, use, make in (
        ("ainvoke", invoked, ours),
        ("astream of messages", streamed, ours),
        ("ainvoke, a handler that does nothing", invoked, lambda _publisher: NoopHandler()),
    ):
        aim = " (at least 0.87)" if make is ours else ""
        measure(f"{name}: {CLAIM}{aim}", using(use, make), using(use, lambda _p: None))
    loop.run(client.aclose())
    loop.close()


def main() -> None:
    with temporary_redis() as url:
        bench_sync(url)
        bench_async(url)


if __name__ == "__main__":
    main()
