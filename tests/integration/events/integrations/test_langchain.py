"""The callback handlers in real graphs: tools, streaming, a failing node, a dead Redis."""

import gc
import json
import logging
import signal
import subprocess
import sys
import weakref
from uuid import uuid4

import pytest
import redis
import redis.asyncio
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

from events.integrations.langchain import (
    RecordOptions,
    RedisCallbackHandler,
    RunRecorder,
    SyncRedisCallbackHandler,
    create_redis_callback_handler,
)
from events.publisher import RedisStreamPublisher, SyncRedisStreamPublisher, get_publisher
from events.streams.clients import get_async_redis
from events.testing.redis_server import EmbeddedRedis
from tests.support.graphs import (
    QUESTION,
    State,
    broken,
    call,
    kinds,
    make_graph,
    published,
    thought,
)

RECORDED = RecordOptions(tool_inputs=True)


def expect_the_whole_run():
    events = published()
    assert kinds()[0] == "phase_update"
    assert kinds()[-1] == "done"
    phases = [e["data"]["phase"] for e in events if e["event_type"] == "phase_update"]
    assert phases == ["LangGraph", "think", "act", "think"]
    (tool_call,) = [e for e in events if e["event_type"] == "tool_call"]
    (tool_result,) = [e for e in events if e["event_type"] == "tool_result"]
    assert tool_call["data"]["tool"] == tool_result["data"]["tool"] == "add"
    assert tool_call["data"]["input"] == {"a": 2, "b": 3}
    assert tool_result["data"]["output"] == "5"
    assert tool_call["data"]["run_id"] == tool_result["data"]["run_id"]
    assert tool_call["data"]["node"] == "act"
    assert thought(events) == "It is five."
    assert all(set(e) == {"event_type", "data", "timestamp", "job_id"} for e in events)
    assert {e["job_id"] for e in events} == {"abc"}


def test_a_sync_run():
    handler = create_redis_callback_handler("abc", get_publisher(), record=RECORDED)
    assert isinstance(handler, SyncRedisCallbackHandler)
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    graph.invoke(QUESTION, config={"callbacks": [handler]})
    expect_the_whole_run()
    assert handler.failures == 0


async def test_an_async_run():
    handler = create_redis_callback_handler(
        "abc", RedisStreamPublisher(get_async_redis()), record=RECORDED
    )
    assert isinstance(handler, RedisCallbackHandler)
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    await graph.ainvoke(QUESTION, config={"callbacks": [handler]})
    expect_the_whole_run()


async def test_astream_too():
    handler = create_redis_callback_handler(
        "abc", RedisStreamPublisher(get_async_redis()), record=RECORDED
    )
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    async for _ in graph.astream(QUESTION, config={"callbacks": [handler]}):
        pass
    expect_the_whole_run()


async def test_a_sync_model_that_blocks_the_loop_of_an_async_graph():
    """LangChain runs its callbacks in another loop and thread, while this loop stands still."""
    model = GenericFakeChatModel(messages=iter([AIMessage("one two")] * 3))

    async def think(state: State, config: RunnableConfig):
        return {"messages": [model.invoke("x", config)]}

    graph = StateGraph(State)
    for name, after in (("first", START), ("second", "first"), ("third", "second")):
        graph.add_node(name, think)
        graph.add_edge(after, name)
    handler = create_redis_callback_handler("abc", RedisStreamPublisher(get_async_redis()))
    await graph.compile().ainvoke(QUESTION, config={"callbacks": [handler]})
    assert handler.failures == 0
    assert kinds() == ["phase_update", *["phase_update", "thought"] * 3, "done"]


def test_streamed_tokens_are_thoughts_whose_text_is_the_whole():
    text = " ".join(f"word{n}" for n in range(2000))
    handler = create_redis_callback_handler("abc", get_publisher())
    make_graph(AIMessage(text)).invoke(QUESTION, config={"callbacks": [handler]})
    thoughts = [e for e in published() if e["event_type"] == "thought"]
    assert thought(published()) == text
    assert len(thoughts) < 20
    assert len({e["data"]["run_id"] for e in thoughts}) == 1


async def test_async_streaming_keeps_the_order():
    text = " ".join(f"word{n}" for n in range(500))
    handler = create_redis_callback_handler("abc", RedisStreamPublisher(get_async_redis()))
    model = GenericFakeChatModel(messages=iter([AIMessage(text)]))
    async for _ in model.astream("hello", config={"callbacks": [handler]}):
        pass
    assert thought(published()) == text


def test_a_failing_tool_is_one_error_and_no_done():
    handler = create_redis_callback_handler("abc", get_publisher())
    graph = make_graph(call("broken", a=1), tools=[broken], stream=False)
    with pytest.raises(ValueError, match="no 1"):
        graph.invoke(QUESTION, config={"callbacks": [handler]})
    errors = [e["data"] for e in published() if e["event_type"] == "error"]
    assert [(e["message"], e["error_type"]) for e in errors] == [("no 1", "ValueError")]
    assert "done" not in kinds()


async def test_a_failing_node_is_one_error():
    def explode(_state: State):
        raise RuntimeError("boom \x00 \ud800")

    graph = StateGraph(State)
    graph.add_node("explode", explode)
    graph.add_edge(START, "explode")
    handler = create_redis_callback_handler("abc", RedisStreamPublisher(get_async_redis()))
    with pytest.raises(RuntimeError):
        await graph.compile().ainvoke(QUESTION, config={"callbacks": [handler]})
    assert kinds() == ["phase_update", "phase_update", "error"]
    assert published()[-1]["data"]["message"] == "boom \ufffd ?"
    assert handler.failures == 0


def test_an_error_that_stops_a_graph_on_purpose_is_none():
    class Enough(Exception):
        pass

    def stop(_value):
        raise Enough

    handler = SyncRedisCallbackHandler("abc", get_publisher(), control_flow=(Enough,))
    with pytest.raises(Enough):
        RunnableLambda(stop).invoke(1, config={"callbacks": [handler]})
    assert kinds() == ["phase_update"]


def test_each_root_run_of_one_handler_is_done_once():
    handler = create_redis_callback_handler("abc", get_publisher())
    chain = RunnableLambda(lambda x: x + 1) | RunnableLambda(lambda x: x * 2)
    chain.invoke(1, config={"callbacks": [handler]})
    chain.invoke(2, config={"callbacks": [handler]})
    assert kinds().count("done") == 2
    assert kinds()[-1] == "done"


def test_values_that_are_not_json_are_shown_as_text():
    class Odd:
        def __repr__(self):
            return "odd \x00"

    @tool
    def odd(x: str) -> object:
        """Answer oddly."""
        return {"odd": Odd(), 5: float("nan"), "big": "x" * 100_000}

    handler = create_redis_callback_handler("abc", get_publisher(), record=RECORDED)
    odd.invoke({"x": "\x00"}, config={"callbacks": [handler]})
    assert handler.failures == 0
    call_event, result = published()
    assert call_event["data"]["input"] == '{"x":"\\u0000"}'
    assert "odd" in result["data"]["output"]
    assert "more characters" in result["data"]["output"]
    assert len(json.dumps(result)) < 40_000


def test_parallel_branches_publish_from_their_threads():
    model = GenericFakeChatModel(messages=iter([AIMessage("a b c d")] * 8))

    def branch(state: State, config: RunnableConfig):
        return {"messages": [model.invoke("x", config)]}

    graph = StateGraph(State)
    for n in range(8):
        graph.add_node(f"branch{n}", branch)
        graph.add_edge(START, f"branch{n}")
    handler = create_redis_callback_handler("abc", get_publisher())
    graph.compile().invoke(QUESTION, config={"callbacks": [handler]})
    texts = {}
    for event in published():
        if event["event_type"] == "thought":
            texts.setdefault(event["data"]["run_id"], []).append(event["data"]["text"])
    assert sorted("".join(parts) for parts in texts.values()) == ["a b c d"] * 8
    assert kinds().count("done") == 1


def test_a_dead_redis_never_breaks_a_sync_graph(short_tmp, caplog):
    client = redis.Redis.from_url(f"unix://{short_tmp}/nobody.sock", retry=None)
    handler = create_redis_callback_handler("abc", SyncRedisStreamPublisher(client))
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    with caplog.at_level(logging.WARNING):
        answer = graph.invoke(QUESTION, config={"callbacks": [handler]})
    assert answer["messages"][-1].content == "It is five."
    assert handler.failures > 5
    assert [r.getMessage() for r in caplog.records] == ["callback_not_published"] * handler.failures


async def test_a_dead_redis_never_breaks_an_async_graph(short_tmp):
    client = redis.asyncio.Redis.from_url(f"unix://{short_tmp}/nobody.sock", retry=None)
    handler = create_redis_callback_handler("abc", RedisStreamPublisher(client))
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    answer = await graph.ainvoke(QUESTION, config={"callbacks": [handler]})
    assert answer["messages"][-1].content == "It is five."
    assert handler.failures > 5


def test_a_redis_that_hangs_holds_up_a_graph_once(short_tmp):
    """Stopped, not dead: each try would wait for the timeout, so the next ones are not made."""
    server = EmbeddedRedis(short_tmp / "hung", save="")
    server.start()
    client = redis.Redis.from_url(server.url, retry=None, socket_timeout=0.3)
    publisher = SyncRedisStreamPublisher(client)
    tries = []
    publish = publisher.publish_event
    publisher.publish_event = lambda *args: tries.append(args) or publish(*args)
    try:
        server.process.send_signal(signal.SIGSTOP)
        handler = create_redis_callback_handler("abc", publisher)
        graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
        graph.invoke(QUESTION, config={"callbacks": [handler]})
        assert len(tries) == 1
        assert handler.failures > 5
    finally:
        server.process.send_signal(signal.SIGCONT)
        client.close()
        server.stop()


def test_an_interrupt_is_no_error():
    """A graph that asks a person stops on purpose."""

    def ask(_state: State):
        interrupt("May I?")

    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    handler = create_redis_callback_handler("abc", get_publisher())
    config = {"callbacks": [handler], "configurable": {"thread_id": "1"}}
    graph.compile(checkpointer=InMemorySaver()).invoke(QUESTION, config=config)
    assert "error" not in kinds()


def test_errors_that_take_turns_are_told_once_each():
    first, second = ValueError("a"), ValueError("b")
    log = RunRecorder("abc")
    root = uuid4()
    log.chain_start({"name": "root"}, None, run_id=root)
    told = []
    for error in (first, second, first):
        run = uuid4()
        log.chain_start({"name": "step"}, None, run_id=run, parent_run_id=root)
        told += log.failed(error, run_id=run)
    told += log.failed(second, run_id=root)
    assert [event["data"]["message"] for event in told] == ["a", "b"]


def test_an_error_is_told_once_though_another_graph_ends_meanwhile():
    log = RunRecorder("abc")
    root, step, other = uuid4(), uuid4(), uuid4()
    log.chain_start({"name": "root"}, None, run_id=root)
    log.chain_start({"name": "step"}, None, run_id=step, parent_run_id=root)
    log.chain_start({"name": "other"}, None, run_id=other)
    error = ValueError("a")
    told = log.failed(error, run_id=step)
    told += log.failed(ValueError("b"), run_id=other)
    told += log.failed(error, run_id=root)
    assert [event["data"]["message"] for event in told] == ["a", "b"]


def test_a_handler_keeps_no_error_of_a_graph_that_is_done():
    """A fallback answers it, so the root never hears of it; its frames hold whatever they saw."""
    seen: list[weakref.ref[Exception]] = []

    class Busy(Exception):
        pass

    def fail(_given):
        error = Busy()
        seen.append(weakref.ref(error))
        raise error

    handler = create_redis_callback_handler("abc", get_publisher())
    chain = RunnableLambda(fail).with_fallbacks([RunnableLambda(str)]) | RunnableLambda(str)
    chain.invoke(1, config={"callbacks": [handler]})
    gc.collect()
    assert "done" in kinds()
    assert [ref() for ref in seen] == [None]


def test_without_langchain_the_import_says_what_to_install():
    script = (
        "import sys; sys.modules['langchain_core'] = None\nimport events.integrations.langchain"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "pip install 'django-job-events[langgraph]'" in ran.stderr
