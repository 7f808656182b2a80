"""What is told of a run: its tree, subgraphs, retries, retrievers, custom events, usage, errors."""

import asyncio
import operator
from typing import Annotated, TypedDict
from uuid import uuid4

import pytest
from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, RetryPolicy, Send, interrupt
from pydantic import BaseModel
from tenacity import Retrying

from events.integrations.langchain import RecordOptions, RunRecorder, create_redis_callback_handler
from events.publisher import RedisStreamPublisher, get_publisher
from events.streams.clients import get_async_redis
from tests.support.graphs import (
    QUESTION,
    State,
    add,
    call,
    kinds,
    make_graph,
    node_graph,
    of_kind,
    published,
    thought,
)


def watched(**options):
    return create_redis_callback_handler("abc", get_publisher(), **options)


def awatched(**options):
    return create_redis_callback_handler("abc", RedisStreamPublisher(get_async_redis()), **options)


def invoke(graph, given=QUESTION, **options):
    handler = watched(**options)
    answer = graph.invoke(given, config={"callbacks": [handler]})
    assert handler.failures == 0
    return answer


def test_the_run_tree():
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    handler = watched()
    config = {"callbacks": [handler], "tags": ["mine"], "run_name": "sums"}
    graph.invoke(QUESTION, config=config)
    runs = {e["data"]["run_id"]: e["data"] for e in reversed(published())}
    root = next(data for data in runs.values() if data["parent_run_id"] is None)
    assert root["phase"] == "sums"
    (used,) = of_kind("tool_call")
    assert runs[used["parent_run_id"]]["phase"] == used["node"] == "act"
    assert runs[used["parent_run_id"]]["parent_run_id"] == root["run_id"]
    assert used["namespace"] == ["act"]
    assert used["step"] == 2
    assert {tuple(e["data"]["tags"]) for e in published()} == {("mine",)}


def test_a_subgraph_says_where_it_is():
    def deep(_state: State, config: RunnableConfig):
        return {"messages": [GenericFakeChatModel(messages=iter(["hm"])).invoke("x", config)]}

    graph = StateGraph(State)
    graph.add_node("outer", node_graph(deep, "inner"))
    graph.add_edge(START, "outer")
    invoke(graph.compile())
    (said,) = of_kind("thought")
    assert said["namespace"] == ["outer", "inner"]
    phases = [data["phase"] for data in of_kind("phase_update")]
    assert phases[0] == "LangGraph"
    assert phases[-1] == "inner"
    assert kinds().count("done") == 1


class Items(TypedDict):
    found: Annotated[list[int], operator.add]


async def test_parallel_branches_of_an_async_graph_each_have_a_run():
    async def work(number: int, config: RunnableConfig):
        model = GenericFakeChatModel(messages=iter([f"it is {number} "]))
        said = [c.content async for c in model.astream("x", config)]
        return {"found": [len(said)]}

    graph = StateGraph(Items)
    graph.add_node("work", work)
    graph.add_conditional_edges(START, lambda _s: [Send("work", n) for n in range(5)], ["work"])
    handler = awatched()
    await graph.compile().ainvoke({"found": []}, config={"callbacks": [handler]})
    texts = {}
    for data in of_kind("thought"):
        texts[data["run_id"]] = texts.get(data["run_id"], "") + data["text"]
    assert sorted(texts.values()) == [f"it is {n} " for n in range(5)]
    assert len({data["parent_run_id"] for data in of_kind("thought")}) == 5
    assert handler.failures == 0


def test_a_node_that_is_tried_again():
    tries = []

    def flaky(_state: State):
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("gone")
        return {"messages": [AIMessage("here")]}

    policy = RetryPolicy(initial_interval=0.001, max_attempts=3, jitter=False)
    invoke(node_graph(flaky, "flaky", retry_policy=policy))
    assert kinds() == [
        "phase_update", "phase_update", "error", "retry", "phase_update", "error", "retry",
        "phase_update", "done",
    ]  # fmt: skip
    assert [(e["name"], e["attempt"]) for e in of_kind("retry")] == [("flaky", 2), ("flaky", 3)]


def test_a_loop_in_a_graph_is_no_retry():
    graph = make_graph(call("add", a=2, b=3), AIMessage("five"), stream=False)
    invoke(graph)
    assert "retry" not in kinds()


def test_with_retry():
    tries = []

    def flaky(value: int) -> int:
        tries.append(1)
        if len(tries) < 2:
            raise ConnectionError("gone")
        return value

    invoke(RunnableLambda(flaky).with_retry(stop_after_attempt=2, wait_exponential_jitter=False), 1)
    assert [data["attempt"] for data in of_kind("retry")] == [2]


def test_a_model_that_is_asked_again():
    log, run, events = RunRecorder("abc"), uuid4(), []
    log.llm_start({"name": "model"}, [], run_id=run)

    def flaky():
        if not events:
            raise ConnectionError("redis://:hunter2@cache")

    Retrying(before_sleep=lambda state: events.extend(log.retry(state, run_id=run)))(flaky)
    (data,) = [event["data"] for event in events]
    assert (data["name"], data["attempt"], data["error_type"]) == ("model", 2, "ConnectionError")
    assert data["message"] == "redis://[redacted]@cache"


class Shelf(BaseRetriever):
    def _get_relevant_documents(self, query, *, run_manager):
        return [Document(f"about {query}", metadata={"source": "a.txt"}), Document("more")]


def test_a_retriever_tells_how_much_it_found():
    invoke(Shelf(name="shelf"), "tea")
    asked, found = (e["data"] for e in published())
    assert kinds() == ["retriever_call", "retriever_result"]
    assert asked["retriever"] == found["retriever"] == "shelf"
    assert found["count"] == 2
    assert (asked["withheld"], found["withheld"]) == (["query"], ["documents"])
    assert "tea" not in str(published())


async def test_a_retriever_with_what_it_found():
    handler = awatched(record=RecordOptions(queries=True, documents=True))
    await Shelf(name="shelf").ainvoke("tea", config={"callbacks": [handler]})
    asked, found = (e["data"] for e in published())
    assert asked["query"] == "tea"
    assert found["documents"][0] == {"text": "about tea", "metadata": {"source": "a.txt"}}


async def test_custom_events():
    async def work(_state: State, config: RunnableConfig):
        await adispatch_custom_event("page_read", {"page": 3, "password": "x"}, config=config)
        return {}

    handler = awatched()
    await node_graph(work).ainvoke(QUESTION, config={"callbacks": [handler]})
    (data,) = of_kind("custom_event")
    assert (data["name"], data["node"]) == ("page_read", "think")
    assert data["value"] == {"page": 3, "password": "[redacted]"}


def test_a_custom_event_cannot_pass_for_an_event_of_the_job():
    def work(value):
        dispatch_custom_event("task_completed", {"result": 1})
        return value

    invoke(RunnableLambda(work), 1, record=RecordOptions(custom_events=False))
    assert "task_completed" not in kinds()
    (data,) = of_kind("custom_event")
    assert data["name"] == "task_completed"
    assert data["withheld"] == ["value"]


def test_usage_and_the_names_of_models():
    usage = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
    answers = [
        AIMessage("a", usage_metadata=usage, response_metadata={"model_name": "gpt-x"})
        for _ in range(2)
    ]
    model = GenericFakeChatModel(messages=iter(answers))

    def think(_state: State, config: RunnableConfig):
        return {"messages": [model.invoke("x", config), model.invoke("y", config)]}

    invoke(node_graph(think))
    told = of_kind("model_usage")
    assert [(data["model"], data["usage"]) for data in told] == [("gpt-x", usage)] * 2
    (done,) = of_kind("done")
    assert done["usage"] == {"gpt-x": {name: count * 2 for name, count in usage.items()}}


def test_an_error_says_where_in_ones_own_code():
    secret = "hunter2"

    def explode(_state: State):
        raise ValueError(f"no luck with password={secret}") from KeyError("why")

    handler = watched()
    with pytest.raises(ValueError, match="no luck"):
        node_graph(explode).invoke(QUESTION, config={"callbacks": [handler]})
    (error,) = of_kind("error")
    assert error["message"] == "no luck with password=[redacted]"
    assert error["error_type"] == "ValueError"
    where, source, cause = error["traceback"].splitlines()
    assert where.startswith(f'File "{__name__.replace(".", "/")}.py", line ')
    assert where.endswith("in explode")
    assert source.strip().startswith("raise ValueError(")
    assert cause == "Caused by KeyError: 'why'"
    assert secret not in str(published())


def test_an_error_without_its_traceback():
    def explode(_value):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        invoke(RunnableLambda(explode), 1, record=RecordOptions(tracebacks=False))
    assert "traceback" not in of_kind("error")[0]


class Given(BaseModel):
    number: int


@tool(args_schema=Given)
def count(number: int) -> int:
    """Count."""
    return number


def test_a_wrong_argument_is_named_but_not_told():
    with pytest.raises(ValueError, match="number"):
        invoke(count, {"number": "private words"})
    (error,) = of_kind("error")
    assert error["message"].startswith("number: Input should be a valid integer")
    assert "private" not in str(published())


def test_nothing_of_prompts_and_arguments_by_default():
    graph = make_graph(call("add", a=20202, b=3), AIMessage("It is five."), stream=False)
    invoke(graph)
    assert "What is 2 + 3?" not in str(published())
    assert [data["withheld"] for data in of_kind("tool_call")] == [["input"]]
    assert "model_call" not in kinds()
    assert of_kind("tool_result")[0]["output"] == "20205"
    assert thought(published()) == "It is five."
    assert "20202" not in str([e for e in published() if e["event_type"] != "tool_result"])


def test_what_is_recorded_is_said_field_by_field():
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    record = RecordOptions(
        prompts={"human"}, tool_inputs={"a"}, tool_outputs=False, model_text=False, metadata=True
    )
    handler = watched(record=record)
    graph.invoke(QUESTION, config={"callbacks": [handler], "metadata": {"customer": 7}})
    asked = of_kind("model_call")
    assert asked[0]["messages"] == [{"role": "human", "content": "What is 2 + 3?"}]
    assert [message["role"] for message in asked[1]["messages"]] == ["human"]
    (used,) = of_kind("tool_call")
    assert (used["input"], used["withheld"]) == ({"a": 2}, ["input.b"])
    assert [data["withheld"] for data in of_kind("tool_result")] == [["output"]]
    assert [data["withheld"] for data in of_kind("thought")] == [["text"]]
    assert published()[0]["data"]["metadata"] == {"customer": 7}
    assert handler.failures == 0


def test_large_values_say_how_much_is_missing():
    @tool
    def read() -> list[str]:
        """Read."""
        return ["x" * 400] * 5

    invoke(read, {}, record=RecordOptions(max_characters=100))
    (data,) = of_kind("tool_result")
    whole = len('["' + '","'.join(["x" * 400] * 5) + '"]')
    assert data["output"].endswith(f"x [... {whole - 100} more characters]")
    assert len(data["output"]) < 140


def test_values_fit_into_small_events(settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "MAX_EVENT_BYTES": 4096}

    @tool
    def read() -> str:
        """Read."""
        return "x" * 10_000

    invoke(read, {})
    assert of_kind("tool_result")[0]["output"].endswith(f"x [... {10_000 - 512} more characters]")


def test_a_secret_at_the_cut_is_not_seen_in_part():
    @tool
    def read() -> str:
        """Read."""
        return "x " * 45 + "password=hunter2hunter2"

    invoke(read, {}, record=RecordOptions(max_characters=100))
    assert "hunter" not in of_kind("tool_result")[0]["output"]


def test_interrupt_and_resume():
    def ask(_state: State):
        return {"messages": [AIMessage(interrupt("May I?"))]}

    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    asking = graph.compile(checkpointer=InMemorySaver())
    config = {"callbacks": [watched()], "configurable": {"thread_id": "1"}}
    asking.invoke(QUESTION, config=config)
    assert kinds() == ["phase_update", "phase_update", "interrupted"]
    asking.invoke(Command(resume="yes"), config=config)
    assert kinds()[3:] == ["phase_update", "phase_update", "done"]


async def test_astream_events_and_a_tool_that_fails_softly():
    @tool
    def soft(a: int) -> str:
        """Fail."""
        raise ValueError(f"no {a}")

    async def think(_state: State, config: RunnableConfig):
        model = GenericFakeChatModel(messages=iter([AIMessage("Pity.")]))
        return {"messages": [await model.ainvoke("x", config)]}

    graph = StateGraph(State)
    graph.add_node("ask", lambda _state: {"messages": [call("soft", a=1)]})
    graph.add_node("act", ToolNode([soft], handle_tool_errors=True))
    graph.add_node("think", think)
    for first, second in ((START, "ask"), ("ask", "act"), ("act", "think")):
        graph.add_edge(first, second)
    config = {"callbacks": [awatched()]}
    seen = [e["event"] async for e in graph.compile().astream_events(QUESTION, config=config)]
    assert "on_chat_model_stream" in seen
    assert [data["tool"] for data in of_kind("tool_call")] == ["soft"]
    assert [data["message"] for data in of_kind("error")] == ["no 1"]
    assert (kinds()[-1], thought(published())) == ("done", "Pity.")


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_the_streaming_protocol_of_version_3_says_all_once():
    model = GenericFakeChatModel(messages=iter(["one two three"]))
    list(model.stream_events("x", version="v3", config={"callbacks": [watched()]}))
    assert thought(published()) == "one two three"


async def test_two_graphs_at_once_under_one_handler():
    handler = awatched()

    def one():
        graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
        return graph.ainvoke(QUESTION, config={"callbacks": [handler]})

    await asyncio.gather(one(), one())
    assert kinds().count("done") == 2
    assert len(of_kind("tool_call")) == len(of_kind("tool_result")) == 2
    assert add.name == of_kind("tool_call")[0]["tool"]
