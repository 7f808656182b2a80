"""Secrets in all texts of a graph do not reach stream, archive, pages, API and logs."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.urls import reverse
from langchain_core.callbacks import dispatch_custom_event
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import interrupt

from events.archive.archiver import Archiver
from events.execution.run import Question
from events.integrations import langgraph
from events.integrations.langchain import RecordOptions, create_redis_callback_handler
from events.log_format import KeyValueFormatter
from events.models import ArchivedEvent
from events.publisher import RedisStreamPublisher, get_publisher
from events.redaction import Redactor
from events.streams.clients import get_async_redis, get_redis
from jobs import services
from tests.support.graphs import (
    State,
    call,
    data_of,
    event_types,
    node_graph,
    published,
    sync_handler,
)

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "sk-" + "ant-api03-Pl4nt3dK3y0000"
ADDRESS = "planted.person@example.com"
PASSWORD = "planted-hunter2"
SECRETS = (KEY, "Pl4nt3dK3y0000", ADDRESS, "planted.person", PASSWORD, "hunter2")
PLANTED = f"key {KEY}, mail {ADDRESS}, password: {PASSWORD} "
HEADERS = {"Authorization": f"Bearer {KEY}", "X-Api-Key": PASSWORD, "Accept": "text/plain"}

EVERYTHING = RecordOptions(
    prompts=True, tool_inputs=True, queries=True, documents=True, metadata=True
)


@tool
def send(note: str, headers: dict, password: str) -> str:
    """Send it."""
    dispatch_custom_event("sending", {"headers": headers, "raw": list(headers.items())})
    if "fail" in note:
        raise ConnectionError(f"{PLANTED} {headers}") from KeyError(PLANTED)
    return PLANTED


def make_graph(note):
    def think(_state: State, config: RunnableConfig):
        model = GenericFakeChatModel(messages=iter([AIMessage(PLANTED)]))
        for _ in model.stream([SystemMessage(PLANTED), HumanMessage(PLANTED)], config):
            pass
        return {"messages": [call("send", note=note, headers=HEADERS, password=PASSWORD)]}

    graph = StateGraph(State)
    graph.add_node("think", think)
    graph.add_node("act", ToolNode([send], handle_tool_errors=False))
    graph.add_edge(START, "think")
    graph.add_edge("think", "act")
    return graph.compile(name=f"graph of {ADDRESS}")


def config_of(handler):
    return {
        "callbacks": [handler],
        "tags": [f"for {ADDRESS}"],
        "metadata": {"headers": HEADERS, "note": PLANTED},
    }


def assert_no_secret(what, text):
    assert text, f"{what} is empty"
    assert not [secret for secret in SECRETS if secret in text], what


def outputs(client, job, caplog):
    """Return all texts that contain the log of a job, by name."""
    while Archiver().step():
        pass
    caplog.handler.setFormatter(KeyValueFormatter("{levelname} {message}", style="{"))
    api = reverse("job_events:api-job-events", args=[job.job_id])
    return {
        "stream": str(get_redis().xrange(f"job_events:{job.job_id}")),
        "archive": str(list(ArchivedEvent.objects.values_list("event_type", "data"))),
        "page": client.get(reverse("job_events:detail", args=[job.job_id])).content.decode(),
        "admin": client.get(
            reverse("admin:job_events_jobs_job_change", args=[job.pk])
        ).content.decode(),
        "api": client.get(api).content.decode(),
        "logs": "\n".join(caplog.handler.format(record) for record in caplog.records),
    }


@pytest.mark.parametrize("note", ["send it", "fail"])
def test_in_a_sync_graph(note, client, staff, caplog):
    client.force_login(staff)
    job = services.job_create(task_type="agent", job_id="abc", owner=staff)
    services.job_start(job_id="abc")
    handler = sync_handler(record=EVERYTHING)
    with caplog.at_level(logging.INFO):
        try:
            make_graph(note).invoke({"messages": []}, config_of(handler))
        except ConnectionError as error:
            services.job_fail(job_id="abc", error=error)
        handler._record_failure(ConnectionError(PLANTED))
    assert {"model_call", "thought", "tool_call", "custom_event"} <= set(event_types())
    assert ("error" in event_types()) == (note == "fail")
    assert "[redacted]" in str(published())
    for what, text in outputs(client, job, caplog).items():
        assert_no_secret(what, text)


async def test_in_an_async_graph():
    publisher = RedisStreamPublisher(get_async_redis())
    handler = create_redis_callback_handler("abc", publisher, record=EVERYTHING)
    with pytest.raises(ConnectionError):
        await make_graph("fail").ainvoke({"messages": []}, config_of(handler))
    assert {"model_call", "thought", "tool_call", "custom_event", "error"} <= set(event_types())
    assert_no_secret("stream", str(get_redis().xrange("job_events:abc")))
    assert handler.failures == 0


@tool
def look_up(person: str) -> dict:
    """Find a person; the tool node converts the result to text."""
    return {
        "badge": "B-17",
        "jwt": "opaque-1",
        "headers": [["X-Auth-Token", "opaque-2"]],
        "of": person,
    }


@pytest.mark.parametrize("large", [False, True])
def test_secret_keys_of_mappings_in_text(large):
    """The output of a tool node, and a large value that is cut."""

    def act(state: State, config: RunnableConfig):
        rows = ["x" * 100_000] * 12 if large else []
        dispatch_custom_event("found", {**look_up.func("Bo"), "rows": rows}, config=config)
        return ToolNode([look_up]).invoke(state, config)

    record = RecordOptions(redactor=Redactor(keys=["badge"]))
    handler = sync_handler(record=record)
    graph_input = {"messages": [call("look_up", person="Bo")]}
    node_graph(act).invoke(graph_input, config={"callbacks": [handler]})
    (answer,), (found,) = data_of("tool_result"), data_of("custom_event")
    assert '"of": "Bo"' in answer["output"]
    assert ("more characters" in str(found["value"]["rows"])) == large
    for secret in ("B-17", "opaque-1", "opaque-2"):
        assert secret not in f"{answer} {found}"


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_questions_of_an_interrupt(how):
    """The prompt is redacted; the choices are not, so that an answer is one of them."""
    value = {"text": PLANTED, "args": HEADERS, "choices": [ADDRESS, "other"]}
    graph = node_graph(lambda _state: {"messages": [HumanMessage(interrupt(value))]})
    graph.checkpointer = InMemorySaver()
    questions: list[Question] = []

    def ask_all(given):
        questions.extend(given)
        return [question.choices[0] for question in given]

    run: Any = SimpleNamespace(job_id="abc", attempt=1, should_cancel=None, ask_all=ask_all)
    run.delivery, run.graphs = SimpleNamespace(external_id="task"), set()
    run.publisher = get_publisher()
    run.async_publisher = lambda: RedisStreamPublisher(get_async_redis())
    if how == "invoke":
        result = await sync_to_async(langgraph.invoke)(graph, {"messages": []}, run)
    else:
        result = await langgraph.ainvoke(graph, {"messages": []}, run)
    assert result["messages"][-1].content == ADDRESS
    assert questions[0].prompt["args"]["Accept"] == "text/plain"
    assert_no_secret("question", str(questions[0].prompt))
