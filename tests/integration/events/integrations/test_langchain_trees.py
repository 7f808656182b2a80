"""Trees of spans of graphs in graphs, chains, tools, threads and tasks that are abandoned."""

import asyncio
import itertools
import operator
import time
from contextvars import copy_context
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langchain_core.tracers.context import collect_runs
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError, ParentCommand
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt

from events.publisher import RedisStreamPublisher, get_publisher
from events.spans import span_context
from events.streams.clients import get_async_redis
from tests.support.graphs import async_handler, call, data_of, event_types, published, sync_handler
from tests.support.spans import span_trees


class State(TypedDict, total=False):
    messages: Annotated[list[Any], operator.add]
    number: int


def graph(*edges, name=None, saver=None, **nodes):
    """Return a graph of these nodes, in a row unless there are edges."""
    built = StateGraph(State)
    for node, function in nodes.items():
        built.add_node(node, function)
    names = list(nodes)
    for first, second in edges or [(START, names[0]), *itertools.pairwise(names)]:
        built.add_edge(first, second)
    return built.compile(saver, name=name)


def nothing(_state):
    return {}


def config(**options):
    return {"configurable": {"thread_id": "1"}, "callbacks": [sync_handler()], **options}


def root():
    (found,) = span_trees(published())
    return found


def statuses(node):
    """Return names and statuses of the spans in the order of their starts."""
    return [(node.name, node.status), *(one for child in node.children for one in statuses(child))]


def fatal_and_handled():
    errors = data_of("error")
    fatal = [error for error in errors if error["fatal"]]
    known = {error.get("error_run_id") for error in errors}
    handled = [e for e in errors if not e["fatal"] and e["run_id"] not in known]
    return [e["message"].split("\n")[0] for e in fatal], [e["message"] for e in handled]


def test_subgraphs_as_node_in_a_function_and_in_a_tool():
    inner = graph(name="inner", first=nothing, second=RunnableLambda(dict) | RunnableLambda(dict))

    @tool
    def deep() -> str:
        """Go deep."""
        return str(inner.invoke({}))

    def function(state, config: RunnableConfig):
        return inner.invoke(state, config)

    outer = graph(
        inner=inner,  # the root of the subgraph has the name of its node
        function=function,
        tools=ToolNode([deep]),
    )
    outer.invoke({"messages": [call("deep")]}, config())
    tree = ("inner", "first", "second")
    assert root().shape() == (
        "LangGraph",
        ("inner", tree),
        ("function", tree),
        ("tools", ("deep", tree)),
    )


def test_functional_api():
    @task
    def step(number):
        return number + 1

    @entrypoint()
    def whole(number):
        return step(number).result() + step(number).result()

    whole.invoke(1, config())
    assert root().shape() == ("LangGraph", ("whole", "step", "step"))


def test_chain_outside_of_graphs():
    prompt = ChatPromptTemplate.from_messages([("human", "{q}")])
    model = GenericFakeChatModel(messages=iter([AIMessage("hello")]))
    (prompt | model | StrOutputParser()).invoke({"q": "?"}, config())
    assert root().shape() == ("RunnableSequence", "GenericFakeChatModel")


def handoff(_state):
    return Command(goto="second", graph=Command.PARENT)


@pytest.mark.parametrize("depth", [1, 2])
def test_command_for_a_parent_graph(depth):
    built = StateGraph(State)
    built.add_node("sub", graph(first=handoff), destinations=("second",))
    built.add_node("second", nothing)
    built.add_edge(START, "sub")
    outer = built.compile()
    for _ in range(depth - 1):
        outer = graph(outer=outer)
    outer.invoke({}, config())
    assert {status for _, status in statuses(root())} == {"done"}
    assert "error" not in event_types()
    assert event_types()[-1] == "done"


def test_command_for_a_parent_graph_that_does_not_exist():
    with pytest.raises(ParentCommand):
        graph(first=handoff).invoke({}, config())
    assert statuses(root()) == [("LangGraph", "failed"), ("first", "done")]
    assert data_of("error")[0]["message"].startswith("The command is for a parent graph")


@pytest.mark.parametrize("nested", [False, True])
def test_recursion_limit(nested):
    loop = graph((START, "turn"), ("turn", "turn"), name="loop", turn=nothing)
    with pytest.raises(GraphRecursionError):
        (graph(sub=loop) if nested else loop).invoke({}, config(recursion_limit=3))
    (loop_span,) = root().find("loop")
    assert (loop_span.status, root().status, event_types()[-1]) == ("failed", "failed", "error")
    assert data_of("error")[-1]["error_run_id"] == loop_span.event["data"]["run_id"]


def test_error_in_a_chain_within_a_node():
    def node(_state, config: RunnableConfig):
        chain = RunnableLambda(lambda given: given) | RunnableLambda(lambda given: given / 0)
        return chain.invoke(1, config)

    with pytest.raises(ZeroDivisionError):
        graph(node=node).invoke({}, config())
    assert root().shape() == ("LangGraph", "node")
    assert fatal_and_handled() == (["division by zero"], [])


def test_handled_error_in_a_chain_within_a_node():
    def node(_state, config: RunnableConfig):
        broken = RunnableLambda(lambda given: given / 0, name="broken")
        broken.with_fallbacks([RunnableLambda(lambda _given: 7)]).invoke(1, config)
        return {}

    graph(node=node).invoke({}, config())
    assert root().shape() == ("LangGraph", ("node", "broken"))
    assert fatal_and_handled() == ([], ["division by zero"])


@pytest.mark.parametrize("in_node", [False, True])
def test_model_with_a_fallback(in_node):
    class Broken(GenericFakeChatModel):
        def _generate(self, *args, **kwargs):
            raise ConnectionError("gone")

    other = GenericFakeChatModel(messages=iter([AIMessage("here")]))
    model = Broken(messages=iter([])).with_fallbacks([other])
    if in_node:
        graph(node=lambda _state: model.invoke("x") and {}).invoke({}, config())
    else:
        model.invoke("x", config())
    found = root()
    assert (found.children[0] if in_node else found).shape()[1:] == (
        "Broken",
        "GenericFakeChatModel",
    )
    assert found.status == "done"
    assert fatal_and_handled() == ([], ["gone"])


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_graph_with_callbacks_of_its_own(how):
    inner = graph(name="inner", first=nothing)
    handler = sync_handler() if how == "invoke" else async_handler()
    own = {"callbacks": [handler]}

    def node(_state):
        return inner.invoke({}, own)

    async def anode(_state):
        return await inner.ainvoke({}, own)

    if how == "invoke":
        graph(node=node).invoke({}, own)
    else:
        await graph(node=anode).ainvoke({}, own)
    assert root().shape() == ("LangGraph", ("node", ("inner", "first")))
    assert event_types().count("done") == 1


def test_graph_after_the_one_in_whose_context_it_runs():
    """The context of a callback or a thread may outlive its run."""
    contexts = []
    handler = sync_handler()
    graph(node=lambda _state: contexts.append(copy_context()) or {}).invoke(
        {}, {"callbacks": [handler]}
    )
    later = graph(node=nothing, name="later")
    contexts[0].run(later.invoke, {}, {"callbacks": [handler]})
    assert [tree.name for tree in span_trees(published())] == ["LangGraph", "later"]


def test_error_that_replaces_another_one():
    def node(_state, config: RunnableConfig):
        try:
            RunnableLambda(lambda given: given / 0).invoke(1, config)
        except ZeroDivisionError as error:
            raise ValueError("wrapped") from error

    with pytest.raises(ValueError, match="wrapped"):
        graph(node=node).invoke({}, config())
    inner, outer, fatal = data_of("error")
    assert outer["error_run_id"] == inner["run_id"]
    assert fatal["error_run_id"] == outer["run_id"]


async def test_errors_of_a_task_group():
    @tool
    async def broken() -> str:
        """Fail."""
        raise ValueError("no")

    async def node(_state, config: RunnableConfig):
        async with asyncio.TaskGroup() as tasks:
            for _ in range(2):
                tasks.create_task(broken.ainvoke({}, config))

    with pytest.raises(ExceptionGroup):
        await graph(node=node).ainvoke({}, {"callbacks": [async_handler()]})
    assert root().shape() == ("LangGraph", ("node", "broken", "broken"))
    leaf, other_leaf, group, fatal = data_of("error")
    assert sorted(group["error_run_ids"]) == sorted([leaf["run_id"], other_leaf["run_id"]])
    assert "error_run_ids" not in fatal
    assert "ValueError: no; ValueError: no" in group["message"]
    assert group["error_run_id"] == group["error_run_ids"][0]
    assert fatal["error_run_id"] == group["run_id"]


async def test_parallel_branches_of_a_failed_graph_are_cancelled():
    async def slow(_state):
        await asyncio.sleep(30)

    async def broken(_state):
        await asyncio.sleep(0.01)
        raise ValueError("no")

    built = graph((START, "slow"), (START, "broken"), slow=slow, broken=broken)
    with pytest.raises(ValueError, match="no"):
        await built.ainvoke({}, {"callbacks": [async_handler()]})
    found = dict(statuses(root()))
    assert found == {"LangGraph": "failed", "slow": "cancelled", "broken": "failed"}


def test_interrupts_of_a_tool_and_a_subgraph():
    @tool
    def ask() -> str:
        """Ask."""
        return interrupt("May I?")

    outer = graph(sub=graph(tools=ToolNode([ask]), name="sub"), saver=InMemorySaver())
    outer.invoke({"messages": [call("ask")]}, config())
    assert {status for _, status in statuses(root())} == {"interrupted"}
    assert event_types()[-1] == "interrupted"


def test_interrupted_graph_in_a_chain():
    asking = graph(ask=lambda _state: interrupt("May I?"), saver=InMemorySaver())
    (RunnableLambda(dict) | asking).invoke({}, config())
    assert event_types()[-1] == "interrupted"
    assert [status for _, status in statuses(root())] == ["interrupted", "done"] + [
        "interrupted"
    ] * 2


def test_model_whose_stream_is_abandoned():
    def node(_state, config: RunnableConfig):
        model = GenericFakeChatModel(messages=iter([AIMessage("one two three")]))
        next(model.stream("x", config))
        return {}

    graph(node=node, other=nothing).invoke({}, config())
    (model,) = root().find("GenericFakeChatModel")
    assert (model.status, event_types()[-1]) == ("cancelled", "done")
    assert [data.get("end") for data in data_of("thought")] == [True]


async def test_work_that_outlives_its_node():
    @tool
    async def late() -> str:
        """Come late."""
        return "late"

    tasks = []

    async def node(_state, config: RunnableConfig):
        async def later():
            await asyncio.sleep(0.02)
            await late.ainvoke({}, config)

        tasks.append(asyncio.create_task(later()))
        return {}

    async def wait(_state):
        await asyncio.gather(*tasks)

    await graph(node=node, wait=wait).ainvoke({}, {"callbacks": [async_handler()]})
    assert root().shape() == ("LangGraph", "node", "wait", "late")


async def test_work_that_outlives_its_graph():
    released = asyncio.Event()

    @tool
    async def late() -> str:
        """Come late."""
        await released.wait()
        graph(node=nothing).invoke({})
        return "late"

    tasks = []

    async def node(_state, config: RunnableConfig):
        tasks.extend(asyncio.create_task(late.ainvoke({}, config)) for _ in range(2))
        await asyncio.sleep(0.01)
        return {}

    await graph(node=node).ainvoke({}, {"callbacks": [async_handler()]})
    count = len(published())
    released.set()
    await asyncio.gather(*tasks)
    assert len(published()) == count
    assert event_types()[-1] == "done"
    assert len(data_of("tool_call")) == len(data_of("tool_result")) == 2


def test_tracers_of_langchain():
    with collect_runs() as runs, get_usage_metadata_callback():
        graph(node=nothing).invoke({}, config())
    assert len(runs.traced_runs) == 1
    assert statuses(root()) == [("LangGraph", "done"), ("node", "done")]


def test_run_that_another_handler_started():
    """The parent of its root is not in the log."""

    def chain(_given):
        return graph(node=nothing).invoke({}, config())

    with collect_runs():
        RunnableLambda(chain).invoke(1)
    assert root().event["data"]["parent_run_id"] is None


def test_graph_in_a_span_of_the_job():
    with span_context("other", "2"), span_context("abc", "1"), span_context("other", "3"):
        graph(node=nothing).invoke({}, config())
    assert published()[0]["data"]["parent_run_id"] == "1"


def test_spans_of_a_publisher_in_a_graph():
    """They and the runs that start in them are within the run that calls."""
    publisher = get_publisher()

    def model(text):
        return GenericFakeChatModel(messages=iter([AIMessage(text)])).invoke("x")

    @tool
    def search():
        """Search."""
        with publisher.span("abc", "request"):
            return model("tea").content

    def node(_state):
        with publisher.span("abc", "prepare"), publisher.span("abc", "load"):
            graph(inner=nothing, name="sub").invoke({})
        model("ready")
        search.invoke({})
        return {}

    with publisher.span("abc", "job"):
        graph(node=node).invoke({}, config())
    fake = "GenericFakeChatModel"
    node_shape = ("node", ("prepare", ("load", ("sub", "inner"))), fake)
    assert root().shape() == ("job", ("LangGraph", (*node_shape, ("search", ("request", fake)))))


async def test_spans_of_a_publisher_in_an_async_graph():
    handler, publisher = async_handler(), RedisStreamPublisher(get_async_redis())

    async def node(_state):
        async with publisher.span("abc", "load"):
            await graph(inner=nothing, name="sub").ainvoke({})
        return await asyncio.to_thread(threaded)

    def threaded():
        with get_publisher().span("abc", "threaded"):
            return {}

    async with publisher.span("abc", "job"):
        await graph(node=node).ainvoke({}, {"callbacks": [handler]})
    expected = ("LangGraph", ("node", ("load", ("sub", "inner"))))
    assert root().shape() == ("job", expected, "threaded")


def test_same_run_id_twice():
    run_id = "01a21849-0000-7000-8000-000000000000"
    first = config(run_id=run_id)
    graph(node=nothing).invoke({}, first)
    graph(node=nothing).invoke({}, first)
    assert event_types() == ["phase_update", "phase_update", "phase_result", "done"] * 2
    assert [statuses(one) for one in span_trees(published())] == [
        [("LangGraph", "done"), ("node", "done")]
    ] * 2


def test_fallbacks():
    """LangChain calls them with the callbacks of the config, as if nothing called them."""

    def fail(_given):
        raise ConnectionError("gone")

    RunnableLambda(fail).with_fallbacks([RunnableLambda(len)]).invoke("tea", config())
    assert statuses(root())[1:] == [("fail", "failed"), ("len", "done")]
    assert fatal_and_handled() == ([], ["gone"])


async def test_chain_in_a_node_that_is_given_the_handler():
    handler = async_handler()
    given = {"callbacks": [handler]}
    chain = RunnableLambda(str) | GenericFakeChatModel(messages=iter([AIMessage("tea")]))

    async def node(_state):
        await chain.ainvoke(1, given)
        return {}

    await graph(node=node).ainvoke({}, given)
    assert root().shape() == ("LangGraph", ("node", "GenericFakeChatModel"))
    assert event_types().count("done") == 1


def test_time_to_the_first_token():
    def slow():
        time.sleep(0.05)
        yield AIMessage("one two")

    def node(_state, config: RunnableConfig):
        list(GenericFakeChatModel(messages=slow()).stream("x", config))
        return {}

    graph(node=node).invoke({}, config())
    (result,) = data_of("model_result")
    assert 0.05 <= result["seconds_to_first_token"] <= result["seconds"]
