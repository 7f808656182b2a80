"""The callback handlers in graphs: tools, streaming, failing nodes, an unreachable Redis."""

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
from events.testing.redis_server import EmbeddedRedis
from tests.support.graphs import (
    QUESTION,
    State,
    async_handler,
    broken,
    call,
    event_types,
    make_graph,
    published,
    sync_handler,
    thought_text,
)

RECORDED = RecordOptions(tool_inputs=True)


def assert_complete_run():
    events = published()
    assert event_types()[0] == "phase_update"
    assert event_types()[-1] == "done"
    phases = [e["data"]["phase"] for e in events if e["event_type"] == "phase_update"]
    assert phases == ["LangGraph", "think", "act", "think"]
    (tool_call,) = [e for e in events if e["event_type"] == "tool_call"]
    (tool_result,) = [e for e in events if e["event_type"] == "tool_result"]
    assert tool_call["data"]["tool"] == tool_result["data"]["tool"] == "add"
    assert tool_call["data"]["input"] == {"a": 2, "b": 3}
    assert tool_result["data"]["output"] == "5"
    assert tool_call["data"]["run_id"] == tool_result["data"]["run_id"]
    assert tool_call["data"]["node"] == "act"
    assert thought_text(events) == "It is five."
    assert all(set(e) == {"event_type", "data", "timestamp", "job_id"} for e in events)
    assert {e["job_id"] for e in events} == {"abc"}


def test_sync_run():
    handler = sync_handler(record=RECORDED)
    assert isinstance(handler, SyncRedisCallbackHandler)
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    graph.invoke(QUESTION, config={"callbacks": [handler]})
    assert_complete_run()
    assert handler.failures == 0


async def test_async_run():
    handler = async_handler(record=RECORDED)
    assert isinstance(handler, RedisCallbackHandler)
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    await graph.ainvoke(QUESTION, config={"callbacks": [handler]})
    assert_complete_run()


async def test_astream():
    handler = async_handler(record=RECORDED)
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    async for _ in graph.astream(QUESTION, config={"callbacks": [handler]}):
        pass
    assert_complete_run()


async def test_sync_model_that_blocks_the_loop_of_an_async_graph():
    """LangChain runs the callbacks in another loop and thread while this loop is blocked."""
    model = GenericFakeChatModel(messages=iter([AIMessage("one two")] * 3))

    async def think(state: State, config: RunnableConfig):
        return {"messages": [model.invoke("x", config)]}

    graph = StateGraph(State)
    for name, after in (("first", START), ("second", "first"), ("third", "second")):
        graph.add_node(name, think)
        graph.add_edge(after, name)
    handler = async_handler()
    await graph.compile().ainvoke(QUESTION, config={"callbacks": [handler]})
    assert handler.failures == 0
    node = ["phase_update", "model_call", "thought", "model_result", "phase_result"]
    assert event_types() == ["phase_update", *node * 3, "done"]


def test_thoughts_of_a_streamed_answer_are_its_text():
    text = " ".join(f"word{n}" for n in range(2000))
    handler = sync_handler()
    make_graph(AIMessage(text)).invoke(QUESTION, config={"callbacks": [handler]})
    thoughts = [e for e in published() if e["event_type"] == "thought"]
    assert thought_text(published()) == text
    assert len(thoughts) < 20
    assert len({e["data"]["run_id"] for e in thoughts}) == 1


async def test_async_streaming_keeps_the_order():
    text = " ".join(f"word{n}" for n in range(500))
    handler = async_handler()
    model = GenericFakeChatModel(messages=iter([AIMessage(text)]))
    async for _ in model.astream("hello", config={"callbacks": [handler]}):
        pass
    assert thought_text(published()) == text


def test_failing_tool_is_an_error_that_becomes_fatal():
    handler = sync_handler()
    graph = make_graph(call("broken", a=1), tools=[broken], stream=False)
    with pytest.raises(ValueError, match="no 1"):
        graph.invoke(QUESTION, config={"callbacks": [handler]})
    errors = [e["data"] for e in published() if e["event_type"] == "error"]
    raised, fatal = errors
    assert (raised["message"], raised["error_type"], raised["fatal"]) == (
        "no 1",
        "ValueError",
        False,
    )
    assert (raised["tool"], raised["status"]) == ("broken", "failed")
    assert (fatal["phase"], fatal["fatal"]) == ("LangGraph", True)
    assert fatal["error_run_id"] == raised["run_id"]
    assert "traceback" in raised
    assert "traceback" not in fatal
    assert "done" not in event_types()


async def test_failing_node_is_an_error_that_becomes_fatal():
    def explode(_state: State):
        raise RuntimeError("boom \x00 \ud800")

    graph = StateGraph(State)
    graph.add_node("explode", explode)
    graph.add_edge(START, "explode")
    handler = async_handler()
    with pytest.raises(RuntimeError):
        await graph.compile().ainvoke(QUESTION, config={"callbacks": [handler]})
    assert event_types() == ["phase_update", "phase_update", "error", "error"]
    assert published()[2]["data"]["message"] == "boom \ufffd \ufffd"
    assert handler.failures == 0


def test_control_flow_exceptions_are_no_errors():
    class Enough(Exception):
        pass

    def stop(_value):
        raise Enough

    handler = SyncRedisCallbackHandler("abc", get_publisher(), control_flow=(Enough,))
    with pytest.raises(Enough):
        RunnableLambda(stop).invoke(1, config={"callbacks": [handler]})
    assert event_types() == ["phase_update", "cancelled"]


def test_each_root_run_of_one_handler_is_done_once():
    handler = sync_handler()
    chain = RunnableLambda(lambda x: x + 1) | RunnableLambda(lambda x: x * 2)
    chain.invoke(1, config={"callbacks": [handler]})
    chain.invoke(2, config={"callbacks": [handler]})
    assert event_types().count("done") == 2
    assert event_types()[-1] == "done"


def test_values_other_than_json_are_converted():
    class Odd:
        def __str__(self):
            return "odd \x00"

    @tool
    def odd(x: str) -> object:
        """Answer oddly."""
        return {"odd": Odd(), 5: float("nan"), "big": "x" * 100_000}

    handler = sync_handler(record=RECORDED)
    odd.invoke({"x": "\x00"}, config={"callbacks": [handler]})
    assert handler.failures == 0
    call_event, result = published()
    assert call_event["data"]["input"] == {"x": "\ufffd"}
    output = result["data"]["output"]
    assert (output["odd"]["text"], output["5"]) == ("odd \ufffd", "NaN")
    assert output["big"].endswith("more characters]")
    assert len(json.dumps(result)) < 40_000


def test_parallel_branches_publish_from_their_threads():
    model = GenericFakeChatModel(messages=iter([AIMessage("a b c d")] * 8))

    def branch(state: State, config: RunnableConfig):
        return {"messages": [model.invoke("x", config)]}

    graph = StateGraph(State)
    for n in range(8):
        graph.add_node(f"branch{n}", branch)
        graph.add_edge(START, f"branch{n}")
    handler = sync_handler()
    graph.compile().invoke(QUESTION, config={"callbacks": [handler]})
    texts = {}
    for event in published():
        if event["event_type"] == "thought":
            texts.setdefault(event["data"]["run_id"], []).append(event["data"]["text"])
    assert sorted("".join(parts) for parts in texts.values()) == ["a b c d"] * 8
    assert event_types().count("done") == 1


def test_sync_graph_without_redis(short_tmp, caplog):
    client = redis.Redis.from_url(f"unix://{short_tmp}/none.sock", retry=None)
    handler = create_redis_callback_handler("abc", SyncRedisStreamPublisher(client))
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    with caplog.at_level(logging.WARNING):
        answer = graph.invoke(QUESTION, config={"callbacks": [handler]})
    assert answer["messages"][-1].content == "It is five."
    assert handler.failures > 5
    assert [r.getMessage() for r in caplog.records] == ["callback_not_published"] * handler.failures


async def test_async_graph_without_redis(short_tmp):
    client = redis.asyncio.Redis.from_url(f"unix://{short_tmp}/none.sock", retry=None)
    handler = create_redis_callback_handler("abc", RedisStreamPublisher(client))
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    answer = await graph.ainvoke(QUESTION, config={"callbacks": [handler]})
    assert answer["messages"][-1].content == "It is five."
    assert handler.failures > 5


def test_redis_that_hangs_delays_a_graph_once(short_tmp):
    """Each publish would wait for the timeout, so the circuit breaker skips the next ones."""
    server = EmbeddedRedis(short_tmp / "hung", save="")
    server.start()
    client = redis.Redis.from_url(server.url, retry=None, socket_timeout=0.3)
    publisher = SyncRedisStreamPublisher(client)
    attempts = []
    publish = publisher.publish_event
    publisher.publish_event = lambda *args: attempts.append(args) or publish(*args)
    try:
        server.process.send_signal(signal.SIGSTOP)
        handler = create_redis_callback_handler("abc", publisher)
        graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
        graph.invoke(QUESTION, config={"callbacks": [handler]})
        assert len(attempts) == 1
        assert handler.failures > 5
    finally:
        server.process.send_signal(signal.SIGCONT)
        client.close()
        server.stop()


def test_interrupt_is_no_error():

    def ask(_state: State):
        interrupt("May I?")

    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    handler = sync_handler()
    config = {"callbacks": [handler], "configurable": {"thread_id": "1"}}
    graph.compile(checkpointer=InMemorySaver()).invoke(QUESTION, config=config)
    assert "error" not in event_types()


def test_alternating_errors_are_recorded_once_each():
    first, second = ValueError("a"), ValueError("b")
    recorder = RunRecorder("abc")
    root = uuid4()
    recorder.chain_start({"name": "root"}, None, run_id=root)
    events = []
    for error in (first, second, first):
        run = uuid4()
        recorder.chain_start({"name": "step"}, None, run_id=run, parent_run_id=root)
        events += recorder.failed(error, run_id=run)
    events += recorder.failed(second, run_id=root)
    errors = [event["data"] for event in events if event["event_type"] == "error"]
    assert [error["message"] for error in errors] == ["a", "b", "b"]
    assert errors[1]["run_id"] == errors[2]["error_run_id"]


def test_error_is_recorded_once_if_another_graph_ends_in_between():
    recorder = RunRecorder("abc")
    root, step, other = uuid4(), uuid4(), uuid4()
    recorder.chain_start({"name": "root"}, None, run_id=root)
    recorder.chain_start({"name": "step"}, None, run_id=step, parent_run_id=root)
    recorder.chain_start({"name": "other"}, None, run_id=other)
    error = ValueError("a")
    events = recorder.failed(error, run_id=step)
    events += recorder.failed(ValueError("b"), run_id=other)
    events += recorder.failed(error, run_id=root)
    assert [event["data"]["message"] for event in events] == ["a", "b", "a"]
    assert [event["data"]["fatal"] for event in events] == [False, True, True]


def test_handler_keeps_no_reference_to_handled_errors():
    """A fallback handles the error, so no callback of the root receives it."""
    errors: list[weakref.ref[Exception]] = []

    class Busy(Exception):
        pass

    def fail(_given):
        error = Busy()
        errors.append(weakref.ref(error))
        raise error

    handler = sync_handler()
    chain = RunnableLambda(fail).with_fallbacks([RunnableLambda(str)]) | RunnableLambda(str)
    chain.invoke(1, config={"callbacks": [handler]})
    gc.collect()
    assert "done" in event_types()
    assert [ref() for ref in errors] == [None]


def test_without_langchain_the_import_error_names_the_extra():
    script = (
        "import sys; sys.modules['langchain_core'] = None\nimport events.integrations.langchain"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "pip install 'django-job-events[langgraph]'" in ran.stderr


def test_without_langgraph():
    """LangChain alone is enough for the handlers."""
    script = """
import sys
sys.modules["langgraph"] = None
import django
from django.conf import settings
settings.configure(JOB_EVENTS={})
from uuid import uuid4
from events.integrations.langchain import RunRecorder
recorder, run = RunRecorder("abc"), uuid4()
recorder.tool_start({"name": "add"}, "", run_id=run)
(event,) = recorder.tool_end({"n": 1}, run_id=run)
print(event["data"]["output"], event["data"]["status"])
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert ran.stdout == "{'n': 1} done\n", ran.stderr
