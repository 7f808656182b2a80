"""A realistic agent: six researchers at once, thirty tool calls, errors, retries, a question."""

import json
import operator
import time
from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

from langchain.agents import create_agent
from langchain.agents.middleware import ToolErrorMiddleware
from langchain.agents.structured_output import ToolStrategy
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy, Send, interrupt
from pydantic import BaseModel

BRANCHES = 6
LOOKUPS = 5
SECONDS = 0.1
ROUNDING = 0.01


class Scripted(GenericFakeChatModel):
    """Gives its answers in turn, with any tools."""

    def bind_tools(self, *_args: Any, **_kwargs: Any) -> Any:
        return self

    def _stream(self, *_args: Any, **_kwargs: Any) -> Iterator[ChatGenerationChunk]:
        message = next(self.messages)
        chunks = [
            {"name": call["name"], "args": json.dumps(call["args"]), "id": call["id"], "index": n}
            for n, call in enumerate(message.tool_calls)
        ]
        for block in message.content or [""]:
            content = [block] if block else ""
            chunk = AIMessageChunk(
                content, tool_call_chunks=chunks, usage_metadata=message.usage_metadata
            )
            yield ChatGenerationChunk(message=chunk)


class Finding(BaseModel):
    """What was found."""

    number: int


class Survey(TypedDict, total=False):
    findings: Annotated[list[int], operator.add]
    branch: int
    approved: str


@tool
def look_up(branch: int, number: int) -> str:
    """Look something up; the first one takes twice as long as the others."""
    time.sleep(SECONDS * (2 if number == 0 else 1))
    if (branch, number) == (1, 1):
        raise LookupError("nothing there")
    return f"{branch}.{number}"


def calls(branch: int) -> AIMessage:
    return AIMessage(
        "",
        tool_calls=[
            {"name": "look_up", "args": {"branch": branch, "number": n}, "id": f"{branch}-{n}"}
            for n in range(LOOKUPS)
        ],
    )


def found(branch: int) -> AIMessage:
    call = {"name": "Finding", "args": {"number": branch}, "id": f"{branch}-found"}
    usage = {"input_tokens": 10, "output_tokens": 1, "total_tokens": 11}
    return AIMessage("", tool_calls=[call], usage_metadata=usage)


def researcher(branch: int) -> Any:
    return create_agent(
        Scripted(messages=iter([calls(branch), found(branch)])),
        [look_up],
        middleware=[ToolErrorMiddleware(lambda error, _request: str(error))],
        response_format=ToolStrategy(Finding),
        name="researcher",
    )


def research(state: Survey, config: RunnableConfig) -> dict[str, Any]:
    result = researcher(state["branch"]).invoke({"messages": [("user", "Look.")]}, config)
    return {"findings": [result["structured_response"].number]}


async def aresearch(state: Survey, config: RunnableConfig) -> dict[str, Any]:
    result = await researcher(state["branch"]).ainvoke({"messages": [("user", "Look.")]}, config)
    return {"findings": [result["structured_response"].number]}


def plan(_state: Survey, config: RunnableConfig) -> dict[str, Any]:
    answer = [
        {"type": "reasoning", "reasoning": "Six sides."},
        {"type": "text", "text": "Look at six."},
    ]
    for _ in Scripted(messages=iter([AIMessage(answer)])).stream("Plan it.", config):
        pass
    return {}


def review() -> Any:
    graph = StateGraph(Survey)
    graph.add_node("slow", lambda _state: time.sleep(3 * SECONDS) or {})
    graph.add_node("quick", lambda _state: time.sleep(SECONDS) or {})
    graph.add_edge(START, "slow")
    graph.add_edge("slow", "quick")
    return graph.compile(name="review")


def publish(_state: Survey) -> dict[str, Any]:
    raise PermissionError("not allowed to publish")


def survey(checkpointer: Any, *, is_async: bool) -> Any:
    tries: list[int] = []

    def archive(_state: Survey) -> dict[str, Any]:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("gone")
        return {}

    graph = StateGraph(Survey)
    graph.add_node("plan", plan)
    graph.add_node("research", aresearch if is_async else research)
    policy = RetryPolicy(initial_interval=0.001, max_attempts=2, jitter=False)
    graph.add_node("archive", archive, retry_policy=policy)
    graph.add_node("ask", lambda _state: {"approved": interrupt("Publish it?")})
    graph.add_node("review", review())
    graph.add_node("publish", publish)
    sends = [Send("research", {"branch": branch}) for branch in range(BRANCHES)]
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", lambda _state: sends, ["research"])
    for node, following in (
        ("research", "archive"),
        ("archive", "ask"),
        ("ask", "review"),
        ("review", "publish"),
    ):
        graph.add_edge(node, following)
    return graph.compile(checkpointer, name="survey")


_LOOKED_UP = ("tools", "look_up")
_MODEL = ("model", "Scripted")
_RESEARCH = ("research", ("researcher", _MODEL, *[_LOOKED_UP] * LOOKUPS, _MODEL))
FIRST_RUN = ("survey", ("plan", "Scripted"), *[_RESEARCH] * BRANCHES, "archive", "archive", "ask")
SECOND_RUN = ("survey", "ask", ("review", ("review", "slow", "quick")), "publish")


def assert_survey(events: list[dict[str, Any]], roots: list[Any]) -> None:
    """Check the spans of both runs of the survey: until its question, and until it fails."""
    first, second = roots
    assert (first.shape(), second.shape()) == (FIRST_RUN, SECOND_RUN)
    assert (first.status, first.end["event_type"]) == ("interrupted", "interrupted")
    assert (second.status, second.end["event_type"]) == ("failed", "error")

    lookups = first.find("look_up")
    assert len(lookups) == BRANCHES * LOOKUPS
    assert sorted(node.status for node in lookups) == ["done"] * 29 + ["failed"]
    slow, quick = second.find("slow")[0].seconds, second.find("quick")[0].seconds
    assert slow >= 3 * SECONDS - ROUNDING
    assert quick >= SECONDS - ROUNDING
    for node in second.find("review"):
        assert slow + quick - ROUNDING <= node.seconds <= second.seconds
    for node in first.find("researcher"):  # its lookups run at once
        assert 2 * SECONDS - ROUNDING <= node.seconds <= first.seconds

    errors = [event["data"] for event in events if event["event_type"] == "error"]
    fatal = [error["error_run_id"] for error in errors if error["fatal"]]
    handled = [e["message"] for e in errors if not e["fatal"] and e["run_id"] not in fatal]
    assert sorted(handled) == ["gone", "nothing there"]
    assert fatal == [second.find("publish")[0].event["data"]["run_id"]]
    assert first.end["data"]["usage"]["Scripted"]["total_tokens"] == 11 * BRANCHES

    results = [e["data"] for e in events if e["event_type"] == "model_result"]
    names = [call["name"] for data in results for call in data.get("tool_calls", ())]
    assert sorted(set(names)) == ["Finding", "look_up"]
    thoughts = [e["data"] for e in events if e["event_type"] == "thought"]
    texts = {data.get("kind", "text"): "" for data in thoughts}
    for data in thoughts:
        texts[data.get("kind", "text")] += data["text"]
    assert texts == {"reasoning": "Six sides.", "text": "Look at six."}
    assert [bool(data.get("end")) for data in thoughts][-1]
