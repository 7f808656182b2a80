"""A key, a password and an address, planted wherever a graph handles text: nobody sees them."""

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
from tests.support.graphs import State, call, kinds, node_graph, of_kind, published

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


def expect_none_in(what, text):
    assert text, f"nothing to look at in {what}"
    assert not [secret for secret in SECRETS if secret in text], what


def everywhere(client, job, caplog):
    """What anybody could look at, by its name."""
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
    handler = create_redis_callback_handler("abc", get_publisher(), record=EVERYTHING)
    with caplog.at_level(logging.INFO):
        try:
            make_graph(note).invoke({"messages": []}, config_of(handler))
        except ConnectionError as error:
            services.job_fail(job_id="abc", error=error)
        handler._record_failure(ConnectionError(PLANTED))
    assert {"model_call", "thought", "tool_call", "custom_event"} <= set(kinds())
    assert ("error" in kinds()) == (note == "fail")
    assert "[redacted]" in str(published())
    for what, text in everywhere(client, job, caplog).items():
        expect_none_in(what, text)


async def test_in_an_async_graph():
    publisher = RedisStreamPublisher(get_async_redis())
    handler = create_redis_callback_handler("abc", publisher, record=EVERYTHING)
    with pytest.raises(ConnectionError):
        await make_graph("fail").ainvoke({"messages": []}, config_of(handler))
    assert {"model_call", "thought", "tool_call", "custom_event", "error"} <= set(kinds())
    expect_none_in("stream", str(get_redis().xrange("job_events:abc")))
    assert handler.failures == 0


@tool
def look_up(person: str) -> dict:
    """Find a person; a tool node hands the model the answer as text."""
    return {
        "badge": "B-17",
        "jwt": "opaque-1",
        "headers": [["X-Auth-Token", "opaque-2"]],
        "of": person,
    }


@pytest.mark.parametrize("large", [False, True])
def test_keys_of_mappings_that_have_become_text(large):
    """What a tool node puts into words, and a value of which but the beginning is kept."""

    def act(state: State, config: RunnableConfig):
        rows = ["x" * 100_000] * 12 if large else []
        dispatch_custom_event("found", {**look_up.func("Bo"), "rows": rows}, config=config)
        return ToolNode([look_up]).invoke(state, config)

    record = RecordOptions(redactor=Redactor(keys=["badge"]))
    handler = create_redis_callback_handler("abc", get_publisher(), record=record)
    asked = {"messages": [call("look_up", person="Bo")]}
    node_graph(act).invoke(asked, config={"callbacks": [handler]})
    (answer,), (found,) = of_kind("tool_result"), of_kind("custom_event")
    assert '"of": "Bo"' in answer["output"]
    assert isinstance(found["value"], str) == large
    for secret in ("B-17", "opaque-1", "opaque-2"):
        assert secret not in f"{answer} {found}"


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_what_a_graph_asks_a_person(how):
    """It stands in the log and on the page; what is answered is as it was offered."""
    value = {"text": PLANTED, "args": HEADERS, "choices": [ADDRESS, "nobody"]}
    graph = node_graph(lambda _state: {"messages": [HumanMessage(interrupt(value))]})
    graph.checkpointer = InMemorySaver()
    asked: list[Question] = []

    def ask_all(questions):
        asked.extend(questions)
        return [question.choices[0] for question in questions]

    run: Any = SimpleNamespace(job_id="abc", attempt=1, should_cancel=None, ask_all=ask_all)
    run.publisher = get_publisher()
    run.async_publisher = lambda: RedisStreamPublisher(get_async_redis())
    if how == "invoke":
        result = await sync_to_async(langgraph.invoke)(graph, {"messages": []}, run)
    else:
        result = await langgraph.ainvoke(graph, {"messages": []}, run)
    assert result["messages"][-1].content == ADDRESS
    assert asked[0].prompt["args"]["Accept"] == "text/plain"
    expect_none_in("question", str(asked[0].prompt))
