"""Graphs of tasks: breakpoints, callback managers, and graphs within graphs."""

import asyncio
import operator
from types import SimpleNamespace
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackHandler, CallbackManager
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import RetryPolicy, interrupt

from events.exceptions import InputPending
from events.execution.run import Question
from events.integrations import langgraph
from events.publisher import RedisStreamPublisher, get_publisher
from events.streams.clients import get_async_redis
from tests.support.graphs import (
    State,
    call,
    data_of,
    event_types,
    node_graph,
    published,
    sync_handler,
)
from tests.support.spans import span_trees


@pytest.fixture(autouse=True)
def _check_spans():
    yield
    span_trees(published())


class Letter(TypedDict, total=False):
    steps: Annotated[list[str], operator.add]


class FakeRun:
    """A task run of the job `abc` whose questions are answered by `answers`, by name or in all."""

    def __init__(self, *answers: Any) -> None:
        self.job_id, self.attempt, self.should_cancel = "abc", 1, None
        self.publisher, self.asked, self.answers = get_publisher(), [], list(answers)
        self.given: dict[str, Any] = {}
        self.delivery, self.graphs = SimpleNamespace(external_id="task"), set()

    pending_error = InputPending

    def async_publisher(self):
        return RedisStreamPublisher(get_async_redis())

    def ask_all(self, questions):
        self.asked += questions
        for question in questions:
            if question.name not in self.given:
                if not self.answers:
                    raise self.pending_error(questions)
                self.given[question.name] = self.answers.pop(0)
        return [self.given[question.name] for question in questions]


def letter(saver, **breakpoints):
    graph = StateGraph(Letter)
    for name, after in (("write", START), ("check", "write"), ("send", "check")):
        graph.add_node(name, lambda _state, name=name: {"steps": [name]})
        graph.add_edge(after, name)
    return graph.compile(saver, **breakpoints)


BREAKPOINTS = [
    {"interrupt_before": ["send"]},
    {"interrupt_after": ["check"]},
]


@pytest.mark.parametrize("breakpoints", BREAKPOINTS)
@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
def test_breakpoint_is_a_question(breakpoints, how):
    graph, run = letter(InMemorySaver(), **breakpoints), FakeRun()

    def invoke():
        if how == "invoke":
            return langgraph.invoke(graph, {}, run)
        return asyncio.run(langgraph.ainvoke(graph, {}, run))

    for _ in range(2):  # also if the task is delivered again before the answer
        with pytest.raises(InputPending):
            invoke()
    assert [question.prompt for question in run.asked] == ["Continue with send?"] * 2
    assert run.asked[0] == run.asked[1]
    assert run.asked[0].choices == ("continue",)
    assert [kind for kind in event_types() if "phase" not in kind] == ["interrupted"]
    run.answers = ["continue"]
    assert invoke() == {"steps": ["write", "check", "send"]}
    assert event_types()[-1] == "done"


def test_breakpoint_after_the_last_node():
    graph, run = letter(InMemorySaver(), interrupt_after=["send"]), FakeRun()
    for _ in range(2):
        with pytest.raises(InputPending):
            langgraph.invoke(graph, {}, run)
    assert [question.prompt for question in run.asked] == ["Finish?"] * 2
    run.answers = ["continue"]
    assert langgraph.invoke(graph, {}, run) == {"steps": ["write", "check", "send"]}
    assert [kind for kind in event_types() if "phase" not in kind] == ["interrupted"]


def test_breakpoints_in_a_thread_of_several_jobs():
    graph, run = letter(InMemorySaver(), interrupt_after=["send"]), FakeRun()
    config = {"configurable": {"thread_id": "shared"}}
    for count in (1, 2):
        result = langgraph.invoke(graph, {}, run, config=config)
        assert result["steps"] == ["write", "check", "send"] * count
    assert run.asked == []


def test_breakpoints_before_all_nodes():
    run = FakeRun(*["continue"] * 3)
    result = langgraph.invoke(letter(InMemorySaver(), interrupt_before="*"), {}, run)
    assert result == {"steps": ["write", "check", "send"]}
    assert len({question.name for question in run.asked}) == 3


def test_breakpoint_in_a_subgraph():
    graph = StateGraph(Letter)
    graph.add_node("letter", letter(None, interrupt_before=["send"]))
    graph.add_edge(START, "letter")
    outer, run = graph.compile(InMemorySaver()), FakeRun()
    with pytest.raises(InputPending):
        langgraph.invoke(outer, {}, run)
    assert event_types()[-1] == "interrupted"
    run.answers = ["continue"]
    assert langgraph.invoke(outer, {}, run) == {"steps": ["write", "check", "send"]}


@pytest.mark.parametrize("thread", [{}, {"configurable": {"thread_id": "mine"}}])
def test_node_that_asks_twice(thread):
    graph, run = StateGraph(Letter), FakeRun()
    graph.add_node("write", lambda _state: {"steps": [interrupt("What?"), interrupt("Whom?")]})
    graph.add_edge(START, "write")
    compiled = graph.compile(InMemorySaver())
    for answer in ("tea", "Bo"):
        with pytest.raises(InputPending):
            langgraph.invoke(compiled, {}, run, config=thread)
        run.answers = [answer]
    assert langgraph.invoke(compiled, {}, run, config=thread) == {"steps": ["tea", "Bo"]}
    assert {question.prompt for question in run.asked} == {"What?", "Whom?"}


def test_breakpoint_and_interrupt():
    graph = StateGraph(Letter)
    graph.add_node("write", lambda _state: {"steps": [interrupt("What?")]})
    graph.add_node("send", lambda _state: {"steps": ["send"]})
    graph.add_edge(START, "write")
    graph.add_edge("write", "send")
    run = FakeRun("tea", "continue")
    compiled = graph.compile(InMemorySaver(), interrupt_before=["send"])
    assert langgraph.invoke(compiled, {}, run) == {"steps": ["tea", "send"]}
    assert [question.prompt for question in run.asked] == ["What?", "Continue with send?"]


def test_task_that_died_in_a_node_is_resumed_without_a_question():
    saver, died, run = InMemorySaver(), [], FakeRun("continue")

    def send(_state):
        if not died:
            died.append(True)
            raise ConnectionError
        return {"steps": ["send"]}

    graph = StateGraph(Letter)
    graph.add_node("write", lambda _state: {"steps": ["write"]})
    graph.add_node("send", send)
    graph.add_edge(START, "write")
    graph.add_edge("write", "send")
    compiled = graph.compile(saver)
    with pytest.raises(ConnectionError):
        langgraph.invoke(compiled, {}, run)
    assert langgraph.invoke(compiled, {}, run) == {"steps": ["write", "send"]}
    assert run.asked == []


class Counter(BaseCallbackHandler):
    starts = 0

    def on_chain_start(self, *_args, **_kwargs):
        self.starts += 1


@pytest.mark.parametrize("kind", [list, CallbackManager, AsyncCallbackManager])
@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_callbacks_of_the_config(kind, how):
    counter, run = Counter(), FakeRun()
    callbacks = [counter] if kind is list else kind([counter], [counter])
    config, graph = {"callbacks": callbacks}, letter(InMemorySaver())
    if how == "invoke":
        await asyncio.to_thread(langgraph.invoke, graph, {}, run, config=config)
    else:
        await langgraph.ainvoke(graph, {}, run, config=config)
    assert counter.starts == 4
    assert event_types().count("done") == 1
    assert len(callbacks if kind is list else callbacks.handlers) == 1


def test_handler_of_the_config_publishes_once():
    config = {"callbacks": [sync_handler()]}
    langgraph.invoke(letter(InMemorySaver()), {}, FakeRun(), config=config)
    assert event_types().count("done") == 1


def test_config_of_a_calling_run():
    graph, run = letter(InMemorySaver()), FakeRun()

    def call_graph(_given, config: RunnableConfig):
        return langgraph.invoke(graph, {}, run, config=config)

    counter = Counter()
    RunnableLambda(call_graph).invoke(1, {"callbacks": [counter]})
    assert counter.starts == 5
    assert event_types().count("done") == 1


@pytest.mark.parametrize("passes_config", [True, False])
def test_graph_in_a_tool(passes_config):
    """It is a subgraph: its interrupts are those of the outer graph."""
    run, saver = FakeRun(), InMemorySaver()
    inner = StateGraph(Letter)
    inner.add_node("ask", lambda _state: {"steps": [interrupt("What?")]})
    inner.add_edge(START, "ask")

    @tool
    def write(config: RunnableConfig) -> str:
        """Write."""
        options = {"config": config} if passes_config else {}
        return str(langgraph.invoke(inner.compile(), {}, run, **options)["steps"])

    graph = node_graph(ToolNode([write]), "tools")
    graph.checkpointer = saver
    state: State = {"messages": [call("write")]}
    with pytest.raises(InputPending):
        langgraph.invoke(graph, state, run)
    run.answers = ["tea"]
    result = langgraph.invoke(graph, state, run)
    assert result["messages"][-1].content == "['tea']"
    assert [question.prompt for question in run.asked] == ["What?"] * 2
    assert event_types().count("interrupted") == event_types().count("done") == 1
    assert {data["phase"] for data in data_of("phase_update")} >= {"tools", "ask"}


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
def test_graph_with_its_own_thread_in_a_tool(how):
    """It is no subgraph: it asks its questions itself, and continues when the tool runs again."""
    run, saver = FakeRun(), InMemorySaver()
    inner = StateGraph(Letter)
    inner.add_node("write", lambda _state: {"steps": ["write"]})
    inner.add_node("ask", lambda _state: {"steps": [interrupt("What?")]})
    inner.add_edge(START, "write")
    inner.add_edge("write", "ask")
    graph = inner.compile(InMemorySaver())
    config = {"configurable": {"thread_id": "mine"}}

    @tool
    def write() -> str:
        """Write."""
        return str(langgraph.invoke(graph, {}, run, config=config)["steps"])

    outer = node_graph(ToolNode([write], handle_tool_errors=True), "tools")
    outer.checkpointer = saver
    state: State = {"messages": [call("write")]}

    def invoke():
        if how == "invoke":
            return langgraph.invoke(outer, state, run)
        return asyncio.run(langgraph.ainvoke(outer, state, run))

    with pytest.raises(InputPending):
        invoke()
    assert event_types()[-1] == "interrupted"
    run.answers = ["tea"]
    assert invoke()["messages"][-1].content == "['write', 'tea']"
    assert event_types()[-1] == "done"
    assert {data["status"] for data in data_of("tool_result")} == {"interrupted", "done"}


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
def test_question_of_a_tool_is_no_error_of_the_tool(how):
    run, tries = FakeRun(), []

    @tool
    def write() -> str:
        """Write."""
        tries.append(1)
        return run.ask_all([Question("what", "What?")])[0]

    nodes = ToolNode([write], handle_tool_errors=True)
    graph = node_graph(nodes, "tools", retry_policy=RetryPolicy(retry_on=lambda _error: True))
    graph.checkpointer = InMemorySaver()
    state: State = {"messages": [call("write")]}

    def invoke():
        if how == "invoke":
            return langgraph.invoke(graph, state, run)
        return asyncio.run(langgraph.ainvoke(graph, state, run))

    with pytest.raises(InputPending) as raised:
        invoke()
    assert [question.name for question in raised.value.questions] == ["what"]
    assert tries == [1]
    assert event_types()[-1] == "interrupted"
    assert "error" not in event_types()


def test_run_id_of_the_config_is_that_of_the_first_run():
    graph, run = letter(InMemorySaver(), interrupt_before=["send"]), FakeRun()
    config = {"run_id": "01a21849-0000-7000-8000-000000000000"}
    with pytest.raises(InputPending):
        langgraph.invoke(graph, {}, run, config=config)
    run.answers = ["continue"]
    langgraph.invoke(graph, {}, run, config=config)
    first, second = span_trees(published())
    assert first.event["data"]["run_id"] == config["run_id"] != second.event["data"]["run_id"]


class Count(TypedDict):
    count: int


def counter(saver):
    async def add(state):
        return {"count": state["count"] + 10}

    graph = StateGraph(Count)
    graph.add_node("add", add)
    graph.add_edge(START, "add")
    return graph.compile(saver)


def test_several_graphs_of_a_task_that_runs_again():
    calls, saver = [], InMemorySaver()

    def task(run):
        def write(_state):
            calls.append("write")
            return {"steps": ["write"]}

        first, second = StateGraph(Letter), StateGraph(Letter)
        first.add_node("write", write)
        first.add_edge(START, "write")
        second.add_node("ask", lambda _state: {"steps": [interrupt("What?")]})
        second.add_edge(START, "ask")
        graphs = [first.compile(saver), second.compile(saver)]
        return [langgraph.invoke(graph, {}, run)["steps"] for graph in graphs]

    with pytest.raises(InputPending):
        task(FakeRun())
    assert task(FakeRun("tea")) == [["write"], ["tea"]]
    assert calls == ["write"]
    other = FakeRun("coffee")
    other.delivery.external_id = "other"
    assert task(other) == [["write"], ["coffee"]]


async def test_graphs_of_a_task_at_the_same_time():
    graph, run = counter(InMemorySaver()), FakeRun()
    calls = [langgraph.ainvoke(graph, {"count": number}, run) for number in range(3)]
    assert [state["count"] for state in await asyncio.gather(*calls)] == [10, 11, 12]


def test_result_of_a_graph_that_ended_before_its_task_failed():
    class Full(Letter, Count):
        pass

    graph = StateGraph(Full, output_schema=Count)
    graph.add_node("write", lambda _state: {"steps": ["write"], "count": 1})
    graph.add_edge(START, "write")
    compiled = graph.compile(InMemorySaver())
    for _ in range(2):
        assert langgraph.invoke(compiled, {}, FakeRun()) == {"count": 1}
