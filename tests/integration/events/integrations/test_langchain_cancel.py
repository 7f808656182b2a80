"""A graph that is stopped: by its job, by its task, by whoever reads it; and no other way."""

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
from events.publisher import RedisStreamPublisher, get_publisher
from events.redaction import Redactor
from events.streams.clients import get_async_redis
from tests.support.graphs import (
    QUESTION,
    State,
    call,
    kinds,
    make_graph,
    node_graph,
    of_kind,
    published,
    thought,
)

WORDS = "one two three four five six seven eight nine ten"


def watched(**options):
    return create_redis_callback_handler("abc", get_publisher(), **options)


def awatched(**options):
    return create_redis_callback_handler("abc", RedisStreamPublisher(get_async_redis()), **options)


def streaming(heard):
    """A graph whose model streams nineteen tokens; `heard` gets those that arrive."""

    def think(_state: State, config: RunnableConfig):
        model = GenericFakeChatModel(messages=iter([AIMessage(WORDS)]))
        for chunk in model.stream("x", config):
            heard.append(chunk.content)
        return {}

    return node_graph(think)


def astreaming(heard):
    async def think(_state: State, config: RunnableConfig):
        model = GenericFakeChatModel(messages=iter([AIMessage(WORDS)]))
        async for chunk in model.astream("x", config):
            heard.append(chunk.content)
        return {}

    return node_graph(think)


def expect_stopped(handler, heard):
    assert "".join(heard) in ("one two", "one two ")
    assert thought(published()) in ("one two", "one two ")
    assert not {"error", "done", "cancelled"} & set(kinds())
    assert handler.failures == 0


def test_a_sync_graph_is_stopped_within_a_token():
    heard, cancelled = [], threading.Event()
    handler = watched(should_cancel=cancelled.is_set)

    def think(_state: State, config: RunnableConfig):
        model = GenericFakeChatModel(messages=iter([AIMessage(WORDS)]))
        for chunk in model.stream("x", config):
            heard.append(chunk.content)
            if len(heard) == 3:
                cancelled.set()
        return {}

    with pytest.raises(JobCancelled, match="The job was cancelled"):
        node_graph(think).invoke(QUESTION, config={"callbacks": [handler]})
    expect_stopped(handler, heard)


async def drive(graph, how, config):
    if how == "ainvoke":
        await graph.ainvoke(QUESTION, config=config)
    else:
        async for _ in getattr(graph, how)(QUESTION, config=config):
            pass


@pytest.mark.parametrize("how", ["ainvoke", "astream", "astream_events"])
@pytest.mark.parametrize("make", [astreaming, streaming])
async def test_an_async_graph_is_stopped_within_a_token(how, make):
    heard = []
    handler = awatched(should_cancel=lambda: len(heard) >= 3)
    with pytest.raises(JobCancelled):
        await drive(make(heard), how, {"callbacks": [handler]})
    expect_stopped(handler, heard)


class Ends(BaseCallbackHandler):
    def __init__(self):
        self.seen = []

    def on_chain_end(self, outputs, **kwargs):
        self.seen.append(repr(outputs))


def acts_now():
    return [data["phase"] for data in of_kind("phase_update")][-1:] == ["act"]


def test_no_tool_node_answers_a_cancellation_and_no_policy_tries_again():
    used, ends = [], Ends()

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
    config = {"callbacks": [ends, watched(should_cancel=acts_now)]}
    with pytest.raises(JobCancelled):
        graph.compile().invoke(QUESTION, config=config)
    assert not used
    assert ends.seen
    assert "ToolMessage" not in str(ends.seen)
    assert kinds() == ["phase_update"] * 3


def test_a_parallel_branch_is_stopped_too():
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
    handler = watched(should_cancel=cancelled.is_set)
    with pytest.raises(JobCancelled):
        graph.compile().invoke(QUESTION, config={"callbacks": [handler]})
    assert reached == []


def test_who_cannot_be_asked_has_not_cancelled(caplog):
    def should_cancel():
        raise ConnectionError("redis://:hunter2@cache is gone")

    heard = []
    handler = watched(should_cancel=should_cancel)
    streaming(heard).invoke(QUESTION, config={"callbacks": [handler]})
    assert "".join(heard) == WORDS
    assert kinds()[-1] == "done"
    told = [r for r in caplog.records if r.getMessage() == "should_cancel_failed"]
    assert len(told) == 1  # and not one for each token
    assert "hunter2" not in str(vars(told[0]))


def broken(_text):
    raise RuntimeError("a redactor of somebody's")


def test_nothing_but_a_cancellation_is_raised():
    handler = watched(record=RecordOptions(redactor=Redactor(also=broken)))
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    answer = graph.invoke(QUESTION, config={"callbacks": [handler]})
    assert answer["messages"][-1].content == "It is five."
    assert handler.failures > 3
    assert kinds() == []


async def test_nothing_but_a_cancellation_is_raised_in_an_async_graph():
    handler = awatched(record=RecordOptions(redactor=Redactor(also=broken)))
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    answer = await graph.ainvoke(QUESTION, config={"callbacks": [handler]})
    assert answer["messages"][-1].content == "It is five."
    assert handler.failures > 3


async def test_a_task_that_is_cancelled_in_the_middle():
    speaking = asyncio.Event()

    async def think(_state: State, config: RunnableConfig):
        model = GenericFakeChatModel(messages=iter([AIMessage(WORDS)]))
        async for _ in model.astream("x", config):
            speaking.set()
            await asyncio.sleep(0.01)
        await asyncio.sleep(60)

    handler = awatched()
    config = {"callbacks": [handler]}
    task = asyncio.create_task(node_graph(think).ainvoke(QUESTION, config=config))
    await asyncio.wait_for(speaking.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert kinds()[-1] == "cancelled"
    assert "error" not in kinds()
    assert WORDS.startswith(thought(published()))
    assert kinds()[-2] == "thought"
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
    assert kinds() == ["phase_update", "phase_update", "cancelled"]
    assert handler.failures == 0


@pytest.mark.parametrize("how", ["astream", "astream_events"])
async def test_a_graph_that_nobody_iterates_over_any_more(how):
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    config = {"callbacks": [awatched()]}
    if how == "astream":
        stream = graph.astream(QUESTION, config=config)
    else:
        stream = graph.astream_events(QUESTION, config=config, version="v2")
    while "phase_update" not in kinds()[1:]:
        await anext(stream)
    await stream.aclose()
    assert kinds()[-1] == "cancelled"
    assert kinds().count("cancelled") == 1
    assert "error" not in kinds()


def test_a_sync_graph_that_nobody_iterates_over_any_more():
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    stream = graph.stream(QUESTION, config={"callbacks": [watched()]})
    next(stream)
    stream.close()
    assert kinds()[-1] == "cancelled"
    assert kinds().count("cancelled") == 1
    assert "error" not in kinds()


async def graph_view(request):
    handler = awatched()
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    answer = await graph.ainvoke(QUESTION, config={"callbacks": [handler]})
    return JsonResponse({"said": answer["messages"][-1].content, "failures": handler.failures})


urlpatterns = [path("graph/", graph_view)]


@pytest.mark.urls(__name__)
async def test_in_an_async_view():
    response = await AsyncClient().get("/graph/")
    assert response.json() == {"said": "It is five.", "failures": 0}
    assert kinds()[-1] == "done"
    assert [data["tool"] for data in of_kind("tool_result")] == ["add"]


def test_the_exception_is_one_of_ours():
    assert issubclass(JobCancelled, EventsError)
    assert str(JobCancelled()) == "The job was cancelled: whoever works on it is to stop."
