"""Graphs, handlers for the job `abc`, and the events that they published."""

from typing import Annotated, Any, TypedDict

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode

from events.integrations.langchain import create_redis_callback_handler
from events.publisher import RedisStreamPublisher, get_publisher
from events.streams import commands
from events.streams.clients import get_async_redis, get_redis, run


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def broken(a: int) -> int:
    """Fail."""
    raise ValueError(f"no {a}")


def make_graph(*answers, stream=True, tools=(add,), handle_tool_errors=False):
    """Return an agent: a model node and a tool node in a loop."""
    model = GenericFakeChatModel(messages=iter(answers))

    def think(state: State, config: RunnableConfig):
        if not stream:
            return {"messages": [model.invoke(state["messages"], config)]}
        chunks = list(model.stream(state["messages"], config))
        return {"messages": [sum(chunks[1:], chunks[0])]}

    def route(state: State):
        return "act" if state["messages"][-1].tool_calls else END

    graph = StateGraph(State)
    graph.add_node("think", think)
    graph.add_node("act", ToolNode(list(tools), handle_tool_errors=handle_tool_errors))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", route, ["act", END])
    graph.add_edge("act", "think")
    return graph.compile()


def call(name, **arguments):
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": "call-1"}])


def sync_handler(**options):
    return create_redis_callback_handler("abc", get_publisher(), **options)


def async_handler(**options):
    return create_redis_callback_handler("abc", RedisStreamPublisher(get_async_redis()), **options)


QUESTION = {"messages": [HumanMessage("What is 2 + 3?")]}


def published(job_id="abc"):
    command = commands.xrange(
        f"job_events:{job_id}", after=None, before=None, limit=1000, order="asc"
    )
    return [event.data for event in commands.events_of_xrange(job_id, run(get_redis(), command))]


def event_types():
    return [event["event_type"] for event in published()]


def thought_text(events):
    return "".join(e["data"]["text"] for e in events if e["event_type"] == "thought")


def node_graph(node: Any, name: str = "think", **options: Any) -> Any:
    """Return a graph with one node."""
    graph = StateGraph(State)
    graph.add_node(name, node, **options)
    graph.add_edge(START, name)
    return graph.compile()


def data_of(event_type: str) -> list[dict[str, Any]]:
    return [event["data"] for event in published() if event["event_type"] == event_type]
