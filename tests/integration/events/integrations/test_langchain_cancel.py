"""Graphs that end early: by a cancelled job, a cancelled task, or a closed iterator."""

import asyncio
import threading

import pytest
from django.http import JsonResponse
from django.test import AsyncClient
from django.urls import path
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import RetryPolicy

from events.exceptions import EventsError, JobCancelled
from events.integrations.langchain import RecordOptions, create_redis_callback_handler
from events.publisher import RedisStreamPublisher
from events.redaction import Redactor
from events.streams.clients import get_async_redis
from tests.support.graphs import (
    QUESTION,
    State,
    async_handler,
    call,
    data_of,
    event_types,
    make_graph,
    node_graph,
    published,
    sync_handler,
    thought_text,
)
from tests.support.spans import span_trees


@pytest.fixture(autouse=True)
def _check_spans():
    yield
    span_trees(published())


WORDS = "one two three four five six seven eight nine ten"


def streaming(tokens):
    """Return a graph with a model of nineteen tokens; appends the received ones to `tokens`."""

    def think(_state: State, config: RunnableConfig):
        model = GenericFakeChatModel(messages=iter([AIMessage(WORDS)]))
        for chunk in model.stream("x", config):
            tokens.append(chunk.content)
        return {}

    return node_graph(think)


def astreaming(tokens):
    async def think(_state: State, config: RunnableConfig):
        model = GenericFakeChatModel(messages=iter([AIMessage(WORDS)]))
        async for chunk in model.astream("x", config):
            tokens.append(chunk.content)
        return {}

    return node_graph(think)


def assert_stopped(handler, tokens):
    assert "".join(tokens) in ("one two", "one two ")
    assert thought_text(published()) in ("one two", "one two ")
    assert not {"error", "done"} & set(event_types())
    assert event_types()[-1] == "cancelled"
    assert {data["status"] for data in data_of("phase_result")} == {"cancelled"}
    assert handler.failures == 0


def test_sync_graph_is_stopped_within_a_token():
    tokens, cancelled = [], threading.Event()
    handler = sync_handler(should_cancel=cancelled.is_set)

    def think(_state: State, config: RunnableConfig):
        model = GenericFakeChatModel(messages=iter([AIMessage(WORDS)]))
        for chunk in model.stream("x", config):
            tokens.append(chunk.content)
            if len(tokens) == 3:
                cancelled.set()
        return {}

    with pytest.raises(JobCancelled, match="The job was cancelled"):
        node_graph(think).invoke(QUESTION, config={"callbacks": [handler]})
    assert_stopped(handler, tokens)


async def drive(graph, how, config):
    if how == "ainvoke":
        await graph.ainvoke(QUESTION, config=config)
    else:
        async for _ in getattr(graph, how)(QUESTION, config=config):
            pass


@pytest.mark.parametrize("how", ["ainvoke", "astream", "astream_events"])
@pytest.mark.parametrize("make", [astreaming, streaming])
async def test_async_graph_is_stopped_within_a_token(how, make):
    tokens = []
    handler = async_handler(should_cancel=lambda: len(tokens) >= 3)
    with pytest.raises(JobCancelled):
        await drive(make(tokens), how, {"callbacks": [handler]})
    assert_stopped(handler, tokens)


class EndRecorder(BaseCallbackHandler):
    def __init__(self):
        self.outputs = []

    def on_chain_end(self, outputs, **kwargs):
        self.outputs.append(repr(outputs))


def is_in_act():
    return [data["phase"] for data in data_of("phase_update")][-1:] == ["act"]


def test_no_tool_node_and_no_retry_policy_handles_a_cancellation():
    used, ends = [], EndRecorder()

    @tool
    def work() -> str:
        """Work."""
        used.append(1)
        return "done"

    graph = StateGraph(State)
    graph.add_node("ask", lambda _state: {"messages": [call("work")]})
    policy = RetryPolicy(initial_interval=0.001)
    graph.add_node("act", ToolNode([work], handle_tool_errors=True), retry_policy=policy)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", "act")
    config = {"callbacks": [ends, sync_handler(should_cancel=is_in_act)]}
    with pytest.raises(JobCancelled):
        graph.compile().invoke(QUESTION, config=config)
    assert not used
    assert ends.outputs
    assert "ToolMessage" not in str(ends.outputs)
    phases = [kind for kind in event_types() if kind != "phase_update"]
    assert phases == ["phase_result", "phase_result", "cancelled"]


def test_parallel_branch_is_stopped():
    cancelled, reached = threading.Event(), []

    def quick(_state: State):
        cancelled.set()
        return {}

    def slow(_state: State, config: RunnableConfig):
        assert cancelled.wait(10)
        model = GenericFakeChatModel(messages=iter([AIMessage(WORDS)]))
        reached.extend(model.stream("x", config))
        return {}

    graph = StateGraph(State)
    for name, node in (("quick", quick), ("slow", slow)):
        graph.add_node(name, node)
        graph.add_edge(START, name)
    handler = sync_handler(should_cancel=cancelled.is_set)
    with pytest.raises(JobCancelled):
        graph.compile().invoke(QUESTION, config={"callbacks": [handler]})
    assert reached == []


def test_failing_should_cancel_does_not_cancel(caplog):
    def should_cancel():
        raise ConnectionError("redis://:hunter2@cache is unavailable")

    tokens = []
    handler = sync_handler(should_cancel=should_cancel)
    streaming(tokens).invoke(QUESTION, config={"callbacks": [handler]})
    assert "".join(tokens) == WORDS
    assert event_types()[-1] == "done"
    records = [r for r in caplog.records if r.getMessage() == "should_cancel_failed"]
    assert len(records) == 1  # not one per token
    assert "hunter2" not in str(vars(records[0]))


def broken(_text):
    raise RuntimeError("redactor")


def test_other_errors_are_not_raised():
    handler = sync_handler(record=RecordOptions(redactor=Redactor(also=broken)))
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    answer = graph.invoke(QUESTION, config={"callbacks": [handler]})
    assert answer["messages"][-1].content == "It is five."
    assert handler.failures > 3
    assert event_types() == []


async def test_other_errors_are_not_raised_in_an_async_graph():
    handler = async_handler(record=RecordOptions(redactor=Redactor(also=broken)))
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    answer = await graph.ainvoke(QUESTION, config={"callbacks": [handler]})
    assert answer["messages"][-1].content == "It is five."
    assert handler.failures > 3


async def test_cancelled_task():
    speaking = asyncio.Event()

    async def think(_state: State, config: RunnableConfig):
        model = GenericFakeChatModel(messages=iter([AIMessage(WORDS)]))
        async for _ in model.astream("x", config):
            speaking.set()
            await asyncio.sleep(0.01)
        await asyncio.sleep(60)

    handler = async_handler()
    config = {"callbacks": [handler]}
    task = asyncio.create_task(node_graph(think).ainvoke(QUESTION, config=config))
    await asyncio.wait_for(speaking.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert event_types()[-1] == "cancelled"
    assert "error" not in event_types()
    assert WORDS.startswith(thought_text(published()))
    assert event_types()[-4:-2] == ["thought", "model_result"]
    assert handler.failures == 0


async def test_cancelling_a_task_publishes_no_event_twice():
    """The task is cancelled while a callback waits for the reply to an append."""
    appended, second = [], asyncio.Event()

    class Publisher(RedisStreamPublisher):
        async def publish_event(self, job_id, event_data):
            appended.append(await super().publish_event(job_id, event_data))
            if len(appended) == 2:
                second.set()
            await asyncio.sleep(0.1)
            return appended[-1]

    handler = create_redis_callback_handler("abc", Publisher(get_async_redis()))
    graph = make_graph(AIMessage("It is five."), stream=False)
    task = asyncio.create_task(graph.ainvoke(QUESTION, config={"callbacks": [handler]}))
    await asyncio.wait_for(second.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert event_types() == ["phase_update", "phase_update", "phase_result", "cancelled"]
    assert handler.failures == 0


@pytest.mark.parametrize("how", ["astream", "astream_events"])
async def test_closed_async_iterator(how):
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    config = {"callbacks": [async_handler()]}
    if how == "astream":
        stream = graph.astream(QUESTION, config=config)
    else:
        stream = graph.astream_events(QUESTION, config=config, version="v2")
    while "phase_update" not in event_types()[1:]:
        await anext(stream)
    await stream.aclose()
    assert event_types()[-1] == "cancelled"
    assert event_types().count("cancelled") == 1
    assert "error" not in event_types()


def test_closed_iterator():
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    stream = graph.stream(QUESTION, config={"callbacks": [sync_handler()]})
    next(stream)
    stream.close()
    assert event_types()[-1] == "cancelled"
    assert event_types().count("cancelled") == 1
    assert "error" not in event_types()


async def graph_view(request):
    handler = async_handler()
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    answer = await graph.ainvoke(QUESTION, config={"callbacks": [handler]})
    return JsonResponse({"answer": answer["messages"][-1].content, "failures": handler.failures})


urlpatterns = [path("graph/", graph_view)]


@pytest.mark.urls(__name__)
async def test_in_an_async_view():
    response = await AsyncClient().get("/graph/")
    assert response.json() == {"answer": "It is five.", "failures": 0}
    assert event_types()[-1] == "done"
    assert [data["tool"] for data in data_of("tool_result")] == ["add"]


def test_exception_is_an_events_error():
    assert issubclass(JobCancelled, EventsError)
    assert str(JobCancelled()) == JobCancelled.__doc__
