"""Events of runs: run tree, subgraphs, retries, retrievers, custom events, usage, errors."""

import asyncio
import json
import operator
from typing import Annotated, TypedDict
from uuid import uuid4

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ToolRetryMiddleware
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

from events.integrations.langchain import RecordOptions, RunRecorder
from tests.support.graphs import (
    QUESTION,
    State,
    add,
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


def invoke(graph, given=QUESTION, **options):
    handler = sync_handler(**options)
    answer = graph.invoke(given, config={"callbacks": [handler]})
    assert handler.failures == 0
    return answer


def test_run_tree():
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    handler = sync_handler()
    config = {"callbacks": [handler], "tags": ["mine"], "run_name": "sums"}
    graph.invoke(QUESTION, config=config)
    runs = {e["data"]["run_id"]: e["data"] for e in reversed(published())}
    root = next(data for data in runs.values() if data["parent_run_id"] is None)
    assert root["phase"] == "sums"
    (used,) = data_of("tool_call")
    assert runs[used["parent_run_id"]]["phase"] == used["node"] == "act"
    assert runs[used["parent_run_id"]]["parent_run_id"] == root["run_id"]
    assert used["namespace"] == ["act"]
    assert used["step"] == 2
    assert {tuple(e["data"]["tags"]) for e in published()} == {("mine",)}


def test_namespace_of_a_subgraph():
    def deep(_state: State, config: RunnableConfig):
        return {"messages": [GenericFakeChatModel(messages=iter(["hm"])).invoke("x", config)]}

    graph = StateGraph(State)
    graph.add_node("outer", node_graph(deep, "inner"))
    graph.add_edge(START, "outer")
    invoke(graph.compile())
    (data,) = data_of("thought")
    assert data["namespace"] == ["outer", "inner"]
    phases = [data["phase"] for data in data_of("phase_update")]
    assert phases[0] == "LangGraph"
    assert phases[-1] == "inner"
    assert event_types().count("done") == 1


class Items(TypedDict):
    found: Annotated[list[int], operator.add]


async def test_parallel_branches_of_an_async_graph_have_separate_runs():
    async def work(number: int, config: RunnableConfig):
        model = GenericFakeChatModel(messages=iter([f"it is {number} "]))
        chunks = [c.content async for c in model.astream("x", config)]
        return {"found": [len(chunks)]}

    graph = StateGraph(Items)
    graph.add_node("work", work)
    graph.add_conditional_edges(START, lambda _s: [Send("work", n) for n in range(5)], ["work"])
    handler = async_handler()
    await graph.compile().ainvoke({"found": []}, config={"callbacks": [handler]})
    texts = {}
    for data in data_of("thought"):
        texts[data["run_id"]] = texts.get(data["run_id"], "") + data["text"]
    assert sorted(texts.values()) == [f"it is {n} " for n in range(5)]
    assert len({data["parent_run_id"] for data in data_of("thought")}) == 5
    assert handler.failures == 0


def test_node_with_a_retry_policy():
    calls = []

    def flaky(_state: State):
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionError("gone")
        return {"messages": [AIMessage("here")]}

    policy = RetryPolicy(initial_interval=0.001, max_attempts=3, jitter=False)
    invoke(node_graph(flaky, "flaky", retry_policy=policy))
    assert event_types() == [
        "phase_update", "phase_update", "error", "retry", "phase_update", "error", "retry",
        "phase_update", "phase_result", "done",
    ]  # fmt: skip
    assert [(e["name"], e["attempt"]) for e in data_of("retry")] == [("flaky", 2), ("flaky", 3)]


async def test_node_that_is_tried_again_after_its_timeout():
    calls = []

    async def slow(_state: State):
        calls.append(1)
        await asyncio.sleep(5 if len(calls) < 2 else 0)
        return {"messages": [AIMessage("here")]}

    policy = RetryPolicy(initial_interval=0.001, max_attempts=2, jitter=False)
    graph = node_graph(slow, "slow", retry_policy=policy, timeout=1)
    await graph.ainvoke(QUESTION, config={"callbacks": [async_handler()]})
    assert [(e["name"], e["attempt"]) for e in data_of("retry")] == [("slow", 2)]


def test_tool_that_a_middleware_tries_again():
    calls = []

    @tool
    def flaky() -> str:
        """Fail once."""
        calls.append(1)
        if len(calls) < 2:
            raise ConnectionError("gone")
        return "here"

    class Model(GenericFakeChatModel):
        def bind_tools(self, *_args, **_kwargs):
            return self

    answers = [call("flaky"), AIMessage("done")]
    middleware = [ToolRetryMiddleware(initial_delay=0, jitter=False)]
    agent = create_agent(Model(messages=iter(answers)), [flaky], middleware=middleware)
    invoke(agent)
    assert [(data["name"], data["attempt"]) for data in data_of("retry")] == [("flaky", 2)]


def test_loop_in_a_graph_is_no_retry():
    graph = make_graph(call("add", a=2, b=3), AIMessage("five"), stream=False)
    invoke(graph)
    assert "retry" not in event_types()


def test_with_retry():
    calls = []

    def flaky(value: int) -> int:
        calls.append(1)
        if len(calls) < 2:
            raise ConnectionError("gone")
        return value

    invoke(RunnableLambda(flaky).with_retry(stop_after_attempt=2, wait_exponential_jitter=False), 1)
    assert [data["attempt"] for data in data_of("retry")] == [2]


def test_model_call_that_is_retried():
    recorder, run, events = RunRecorder("abc"), uuid4(), []
    recorder.llm_start({"name": "model"}, [], run_id=run)

    def flaky():
        if not events:
            raise ConnectionError("redis://:hunter2@cache")

    Retrying(before_sleep=lambda state: events.extend(recorder.retry(state, run_id=run)))(flaky)
    (data,) = [event["data"] for event in events]
    assert (data["name"], data["attempt"], data["error_type"]) == ("model", 2, "ConnectionError")
    assert data["message"] == "redis://[redacted]@cache"


class Shelf(BaseRetriever):
    def _get_relevant_documents(self, query, *, run_manager):
        return [Document(f"about {query}", metadata={"source": "a.txt"}), Document("more")]


def test_retriever_with_default_options():
    invoke(Shelf(name="shelf"), "tea")
    query, result = (e["data"] for e in published())
    assert event_types() == ["retriever_call", "retriever_result"]
    assert query["retriever"] == result["retriever"] == "shelf"
    assert result["count"] == 2
    assert (query["withheld"], result["withheld"]) == (["query"], ["documents"])
    assert "tea" not in str(published())


async def test_retriever_with_query_and_documents():
    handler = async_handler(record=RecordOptions(queries=True, documents=True))
    await Shelf(name="shelf").ainvoke("tea", config={"callbacks": [handler]})
    query, result = (e["data"] for e in published())
    assert query["query"] == "tea"
    assert result["documents"][0] == {"text": "about tea", "metadata": {"source": "a.txt"}}


async def test_custom_events():
    async def work(_state: State, config: RunnableConfig):
        await adispatch_custom_event("page_read", {"page": 3, "password": "x"}, config=config)
        return {}

    handler = async_handler()
    await node_graph(work).ainvoke(QUESTION, config={"callbacks": [handler]})
    (data,) = data_of("custom_event")
    assert (data["name"], data["node"]) == ("page_read", "think")
    assert data["value"] == {"page": 3, "password": "[redacted]"}


def test_custom_event_cannot_imitate_an_event_of_the_job():
    def work(value):
        dispatch_custom_event("task_completed", {"result": 1})
        return value

    invoke(RunnableLambda(work), 1, record=RecordOptions(custom_events=False))
    assert "task_completed" not in event_types()
    (data,) = data_of("custom_event")
    assert data["name"] == "task_completed"
    assert data["withheld"] == ["value"]


def test_usage_and_model_names():
    usage = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
    answers = [
        AIMessage("a", usage_metadata=usage, response_metadata={"model_name": "gpt-x"})
        for _ in range(2)
    ]
    model = GenericFakeChatModel(messages=iter(answers))

    def think(_state: State, config: RunnableConfig):
        return {"messages": [model.invoke("x", config), model.invoke("y", config)]}

    invoke(node_graph(think))
    usages = data_of("model_result")
    assert [(data["model"], data["usage"]) for data in usages] == [("gpt-x", usage)] * 2
    (done,) = data_of("done")
    assert done["usage"] == {"gpt-x": {name: count * 2 for name, count in usage.items()}}


def test_traceback_of_an_error_has_user_frames_only():
    secret = "hunter2"

    def explode(_state: State):
        raise ValueError(f"no luck with password={secret}") from KeyError("why")

    handler = sync_handler()
    with pytest.raises(ValueError, match="no luck"):
        node_graph(explode).invoke(QUESTION, config={"callbacks": [handler]})
    error, fatal = data_of("error")
    assert (error["fatal"], fatal["fatal"]) == (False, True)
    assert error["message"] == "no luck with password=[redacted]"
    assert error["error_type"] == "ValueError"
    location, source, cause = error["traceback"].splitlines()
    assert location.startswith(f'File "{__name__.replace(".", "/")}.py", line ')
    assert location.endswith("in explode")
    assert source.strip().startswith("raise ValueError(")
    assert cause == "Caused by KeyError: 'why'"
    assert fatal["error_run_id"] == error["run_id"]
    assert secret not in str(published())


def test_error_without_a_traceback():
    def explode(_value):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        invoke(RunnableLambda(explode), 1, record=RecordOptions(tracebacks=False))
    assert "traceback" not in data_of("error")[0]


class Given(BaseModel):
    number: int


@tool(args_schema=Given)
def count(number: int) -> int:
    """Count."""
    return number


def test_validation_error_without_the_rejected_value():
    with pytest.raises(ValueError, match="number"):
        invoke(count, {"number": "private words"})
    (error,) = data_of("error")
    assert error["message"].startswith("number: Input should be a valid integer")
    assert "private" not in str(published())


def test_prompts_and_arguments_are_withheld_by_default():
    graph = make_graph(call("add", a=20202, b=3), AIMessage("It is five."), stream=False)
    invoke(graph)
    assert "What is 2 + 3?" not in str(published())
    assert [data["withheld"] for data in data_of("tool_call")] == [["input"]]
    assert [data["withheld"] for data in data_of("model_call")] == [["messages"]] * 2
    assert data_of("model_result")[0]["withheld"] == ["tool_calls.args"]
    assert data_of("tool_result")[0]["output"] == "20205"
    assert thought_text(published()) == "It is five."
    assert "20202" not in str([e for e in published() if e["event_type"] != "tool_result"])


def test_record_options():
    graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
    record = RecordOptions(
        prompts={"human"}, tool_inputs={"a"}, tool_outputs=False, model_text=False, metadata=True
    )
    handler = sync_handler(record=record)
    graph.invoke(QUESTION, config={"callbacks": [handler], "metadata": {"customer": 7}})
    model_calls = data_of("model_call")
    assert model_calls[0]["messages"] == [{"role": "human", "content": "What is 2 + 3?"}]
    assert [message["role"] for message in model_calls[1]["messages"]] == ["human"]
    assert model_calls[1]["withheld"] == ["messages.ai", "messages.tool"]
    (used,) = data_of("tool_call")
    assert (used["input"], used["withheld"]) == ({"a": 2}, ["input.b"])
    assert [data["withheld"] for data in data_of("tool_result")] == [["output"]]
    assert [(data["withheld"], data["end"]) for data in data_of("thought")] == [(["text"], True)]
    assert published()[0]["data"]["metadata"] == {"customer": 7}
    assert handler.failures == 0


def test_large_values_are_cut():
    @tool
    def read() -> list[str]:
        """Read."""
        return ["x" * 400] * 5

    invoke(read, {}, record=RecordOptions(max_characters=100))
    (data,) = data_of("tool_result")
    *texts, note = data["output"]
    assert len(json.dumps(data["output"])) <= 100
    assert texts[0].startswith("xx")
    assert note == {"$omitted": 5 - len(texts)}


def test_values_are_limited_by_the_event_size(settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "MAX_EVENT_BYTES": 4096}

    @tool
    def read() -> str:
        """Read."""
        return "x" * 10_000

    invoke(read, {})
    assert data_of("tool_result")[0]["output"].endswith(f"x [... {10_000 - 512} more characters]")


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_event_whose_values_are_too_large_together(settings, how):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "MAX_EVENT_BYTES": 4096}

    @tool
    async def aread(text: str) -> str:
        """Read."""
        return text

    @tool
    def read(text: str) -> str:
        """Read."""
        return text

    text = "\x01" * 600  # six bytes each
    config = {"tags": [text], "run_name": text}
    handler = (sync_handler if how == "invoke" else async_handler)(
        record=RecordOptions(tool_inputs=True)
    )
    config["callbacks"] = [handler]
    if how == "invoke":
        read.invoke({"text": text}, config)
    else:
        await aread.ainvoke({"text": text}, config)
    assert handler.failures == 0
    assert event_types() == ["tool_call", "tool_result"]
    (data,) = data_of("tool_result")
    assert data["output"].startswith("\x01")
    assert data["status"] == "done"


def test_secret_at_the_cut_is_redacted():
    @tool
    def read() -> str:
        """Read."""
        return "x " * 45 + "password=hunter2hunter2"

    invoke(read, {}, record=RecordOptions(max_characters=100))
    assert "hunter" not in data_of("tool_result")[0]["output"]


def test_interrupt_and_resume():
    def ask(_state: State):
        return {"messages": [AIMessage(interrupt("May I?"))]}

    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    asking = graph.compile(checkpointer=InMemorySaver())
    config = {"callbacks": [sync_handler()], "configurable": {"thread_id": "1"}}
    asking.invoke(QUESTION, config=config)
    started = ["phase_update", "phase_update"]
    assert event_types() == [*started, "phase_result", "interrupted"]
    asking.invoke(Command(resume="yes"), config=config)
    assert event_types()[4:] == [*started, "phase_result", "done"]


async def test_astream_events_and_a_handled_tool_error():
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
    config = {"callbacks": [async_handler()]}
    names = [e["event"] async for e in graph.compile().astream_events(QUESTION, config=config)]
    assert "on_chat_model_stream" in names
    assert [data["tool"] for data in data_of("tool_call")] == ["soft"]
    assert [(data["message"], data["fatal"]) for data in data_of("error")] == [("no 1", False)]
    assert (event_types()[-1], thought_text(published())) == ("done", "Pity.")


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_streaming_protocol_of_version_3():
    model = GenericFakeChatModel(messages=iter(["one two three"]))
    list(model.stream_events("x", version="v3", config={"callbacks": [sync_handler()]}))
    assert thought_text(published()) == "one two three"


async def test_two_graphs_at_once_under_one_handler():
    handler = async_handler()

    def one():
        graph = make_graph(call("add", a=2, b=3), AIMessage("It is five."), stream=False)
        return graph.ainvoke(QUESTION, config={"callbacks": [handler]})

    await asyncio.gather(one(), one())
    assert event_types().count("done") == 2
    assert len(data_of("tool_call")) == len(data_of("tool_result")) == 2
    assert add.name == data_of("tool_call")[0]["tool"]
