"""Every place that takes values takes those of the same table, and records the same form."""

import asyncio
import json
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from langchain_core.callbacks import dispatch_custom_event
from langchain_core.documents import Document
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

from events.exceptions import InvalidEvent
from events.execution.adapter import QueueAdapter
from events.execution.run import Delivery, current_run
from events.history import read_events
from events.integrations import langgraph
from events.integrations.langchain import RecordOptions, create_redis_callback_handler
from events.publisher import RedisStreamPublisher, get_publisher
from events.streams.clients import close_async_redis, get_async_redis
from jobs import services
from jobs.models import InputRequest, Job
from tests.support.values import VALUES, Mute

pytestmark = [pytest.mark.django_db(transaction=True)]

VALUES_BY_NAME = {name: value for name, value, _ in VALUES}
FORMS = {name: form for name, _, form in VALUES}
PARAMETERS = pytest.mark.parametrize("name", [each for each in FORMS if each != "generator"])


class Adapter(QueueAdapter):
    name = "values"

    def resume_data(self, run):
        return {}


def run(work, job_id="abc"):
    services.job_create(task_type="manual", job_id=job_id)
    return Adapter().run(Delivery("values", "1", job_id, "work"), work)


def last(event_type):
    events = read_events("abc")
    return [event.data for event in events if event.event_type == event_type][-1]


@PARAMETERS
def test_progress_and_result(name):
    def work():
        current_run().progress(50, value=VALUES_BY_NAME[name])
        return VALUES_BY_NAME[name]

    run(work)
    assert last("task_progress")["value"] == FORMS[name]
    job = Job.objects.get()
    assert (job.status, job.progress) == ("completed", 100)
    assert last("task_completed")["result"] == job.result == FORMS[name]


class Delegating(Exception):
    def __getattr__(self, name):
        return getattr(self.response, name)


def test_error_whose_attributes_raise():
    def work():
        raise Delegating("the server failed")

    with pytest.raises(Delegating):
        run(work)
    job = Job.objects.get()
    assert (job.status, job.error) == ("failed", "the server failed")


def test_progress_that_is_not_a_number():
    def work():
        for progress in (float("nan"), Mute(), "half", None, [50]):
            current_run().progress(progress)
            current_run().progress(10, np.array([progress, progress], dtype=object))
        current_run().progress(10, timestamp="yesterday")
        return current_run().progress(20, event_type="bad\n")

    assert run(work) is None
    assert Job.objects.get().status == "completed"
    assert len([e for e in read_events("abc") if e.event_type == "task_progress"]) == 10


@pytest.mark.parametrize("progress", [Decimal("12.5"), Fraction(25, 2), np.float32(12.5)])
def test_progress_of_other_number_types(progress):
    run(lambda: current_run().progress(progress))
    assert last("task_progress")["progress"] == 12.5


def test_error_names_its_causes():
    async def refuse():
        raise ConnectionRefusedError("tool server refused")

    async def together():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(refuse())

    def work():
        try:
            asyncio.run(together())
        except ExceptionGroup as error:
            raise RuntimeError("step failed") from error

    with pytest.raises(RuntimeError):
        run(work)
    assert (
        Job.objects.get().error
        == last("task_failed")["error"]
        == (
            "step failed (caused by ExceptionGroup: unhandled errors in a TaskGroup"
            " (1 sub-exception): ConnectionRefusedError: tool server refused)"
        )
    )


PICTURE = "iVBOR" + "Ab1+" * 50_000
PICTURES = [
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
    {"type": "image", "base64": PICTURE, "mime_type": "image/png"},
    {"type": "text", "text": "3 errors on the page"},
]


def test_pictures_leave_room_for_words():
    def screenshot() -> Any:
        """Take one."""
        return PICTURES

    record = RecordOptions(prompts=True)
    handler = create_redis_callback_handler("abc", get_publisher(), record=record)
    model = FakeMessagesListChatModel(responses=[AIMessage("a login page")])
    model.invoke([HumanMessage(PICTURES)], {"callbacks": [handler]})
    StructuredTool.from_function(screenshot).invoke({}, {"callbacks": [handler]})
    (message,) = last("model_call")["data"]["messages"]
    for blocks in (message["content"], last("tool_result")["data"]["output"]):
        assert "3 errors on the page" in json.dumps(blocks)
        assert json.dumps(blocks).count("[image/png, 200,005 bytes of base64]") == 2


def test_queryset_in_async_graph():
    """Its repr() is a query, which Django refuses in an event loop."""

    async def rows() -> Any:
        """Find rows."""
        return {"rows": Job.objects.all(), "count": 0}

    async def main():
        handler = create_redis_callback_handler("abc", RedisStreamPublisher(get_async_redis()))
        tool = StructuredTool.from_function(coroutine=rows, name="rows")
        await tool.ainvoke({}, {"callbacks": [handler]})
        await close_async_redis()
        return handler.failures

    assert asyncio.run(main()) == 0
    form = {"rows": {"$type": "django.db.models.query.QuerySet"}, "count": 0}
    assert last("tool_result")["data"]["output"] == form


@PARAMETERS
def test_question(name):
    run(lambda: current_run().ask(VALUES_BY_NAME[name]))
    assert last("input_requested")["prompt"] == InputRequest.objects.get().prompt == FORMS[name]
    assert Job.objects.get().status == "running"


# Those that LangGraph's checkpointers accept.
@pytest.mark.parametrize(
    "name",
    ["none", "decimal", "set", "nan", "model", "message", "datetime", "uuid", "enum", "tuple"],
)
def test_interrupt(name):
    builder = StateGraph(dict)
    builder.add_node("ask", lambda _state: {"answer": interrupt(VALUES_BY_NAME[name])})
    builder.add_edge(START, "ask")
    graph = builder.compile(checkpointer=InMemorySaver())
    run(lambda: langgraph.invoke(graph, {}, current_run()))
    assert InputRequest.objects.get().prompt == FORMS[name]


@PARAMETERS
def test_tool_and_custom_event(name):
    def give() -> Any:
        """Give."""
        return VALUES_BY_NAME[name]

    def work(_):
        dispatch_custom_event("found", VALUES_BY_NAME[name])
        tool.invoke({})

    tool = StructuredTool.from_function(give)
    record = RecordOptions(tool_inputs=True)
    handler = create_redis_callback_handler("abc", get_publisher(), record=record)
    RunnableLambda(work).invoke(1, {"callbacks": [handler]})
    assert last("custom_event")["data"]["value"] == FORMS[name]
    if name != "message":  # its content is the output
        assert last("tool_result")["data"]["output"] == FORMS[name]
    # Called by LangChain with a text, too, which it cannot make of each of these values.
    inputs = {"value": VALUES_BY_NAME[name]}
    handler.on_tool_start({"name": "take"}, "", run_id=uuid4(), inputs=inputs)
    assert last("tool_call")["data"]["input"] == {"value": FORMS[name]}
    assert handler.failures == 0


class Fixed(BaseRetriever):
    found: list[Any]

    def _get_relevant_documents(self, query, *, run_manager):
        return self.found


def test_documents():
    """Retrievers may return other objects."""
    found = [Document("tea", metadata={"score": Decimal(1)}), {"page_content": "tea"}, Mute()]
    record = RecordOptions(documents=True)
    handler = create_redis_callback_handler("abc", get_publisher(), record=record)
    Fixed(found=found).invoke("tea", {"callbacks": [handler]})
    assert last("retriever_result")["data"]["documents"] == [
        {"text": "tea", "metadata": {"score": "1"}},
        {"text": {"page_content": "tea"}, "metadata": {}},
        {"text": {"$type": "tests.support.values.Mute"}, "metadata": {}},
    ]
    assert handler.failures == 0


@PARAMETERS
def test_publishers_and_services(name):
    value, form = VALUES_BY_NAME[name], FORMS[name]
    publisher = get_publisher()
    publisher.publish_task_progress("abc", "work", 5, value=value)
    publisher.publish_document_generated("abc", value)
    assert last("task_progress")["value"] == last("document_generated")["document"] == form
    with publisher.span("abc", "step", value=value):
        pass
    assert last("span_started")["data"]["value"] == form
    services.job_create(task_type="manual", job_id="abc")
    services.job_start(job_id="abc", value=value)
    assert last("task_started")["value"] == form
    services.job_fail(job_id="abc", error="no", value=value)
    assert last("task_failed")["value"] == form


def test_publish_event_takes_json_only():
    with pytest.raises(InvalidEvent):
        get_publisher().publish_event("abc", {"value": {1, 2}})
    assert json.dumps([e.data for e in read_events("abc")]) == "[]"
