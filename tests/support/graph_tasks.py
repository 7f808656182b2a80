"""Tasks that run graphs; all processes of a worker share the checkpoint file."""

import operator
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TypedDict

from celery import shared_task
from django.conf import settings
from langchain_core.tools import tool
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import interrupt

from events.execution.run import current_run
from events.integrations import langgraph
from events.integrations.celery import JobTask
from events.integrations.langchain import RecordOptions
from tests.support.graphs import State, call, node_graph
from tests.support.survey import survey
from tests.support.worker_tasks import kill_at

FILE = str(settings.LOCAL_DIR / "checkpoints.sqlite3")
QUESTION = {"text": "Shall it be sent?", "choices": ["yes", "no"]}


class Letter(TypedDict, total=False):
    drafts: Annotated[int, operator.add]
    sent: str


class Sides(TypedDict, total=False):
    answers: Annotated[list[str], operator.add]


@contextmanager
def saver() -> Iterator[SqliteSaver]:
    with SqliteSaver.from_conn_string(FILE) as opened:
        yield opened


def letter() -> Any:
    graph = StateGraph(Letter)
    graph.add_node("draft", lambda _state: {"drafts": 1})
    graph.add_node("send", lambda _state: {"sent": interrupt(QUESTION)})
    graph.add_edge(START, "draft")
    graph.add_edge("draft", "send")
    graph.add_edge("send", END)
    return graph


@shared_task(base=JobTask, bind=True)
def interrupted_graph(self, job_id: str) -> Any:
    with saver() as checkpointer:
        return langgraph.invoke(letter().compile(checkpointer), {"drafts": 0}, self.job_run)


@shared_task(base=JobTask, bind=True)
async def async_interrupted_graph(self, job_id: str) -> Any:
    async with AsyncSqliteSaver.from_conn_string(FILE) as checkpointer:
        return await langgraph.ainvoke(letter().compile(checkpointer), {"drafts": 0}, self.job_run)


@shared_task(base=JobTask, bind=True)
def parallel_interrupts_graph(self, job_id: str) -> Any:
    graph = StateGraph(Sides)
    for side in ("left", "right"):
        graph.add_node(side, lambda _state, side=side: {"answers": [interrupt(f"{side}?")]})
        graph.add_edge(START, side)
        graph.add_edge(side, END)
    with saver() as checkpointer:
        result = langgraph.invoke(graph.compile(checkpointer), {"answers": []}, self.job_run)
    return sorted(result["answers"])


@shared_task(base=JobTask, bind=True)
def endless_graph(self, job_id: str) -> None:
    def turn(_state: Letter) -> dict[str, int]:
        time.sleep(0.05)
        return {"drafts": 1}

    graph = StateGraph(Letter)
    graph.add_node("turn", turn)
    graph.add_edge(START, "turn")
    graph.add_edge("turn", "turn")
    with saver() as checkpointer:
        config = {"recursion_limit": 10_000}
        langgraph.invoke(graph.compile(checkpointer), {}, self.job_run, config=config)


@shared_task(base=JobTask, bind=True, acks_late=True, reject_on_worker_lost=True)
def killed_graph(self, job_id: str) -> Any:
    def end(_state: Letter) -> dict[str, int]:
        kill_at(current_run().job_id, "drafted")
        return {}

    graph = StateGraph(Letter)
    graph.add_node("draft", lambda _state: {"drafts": 1})
    graph.add_node("end", end)
    graph.add_edge(START, "draft")
    graph.add_edge("draft", "end")
    graph.add_edge("end", END)
    with saver() as checkpointer:
        return langgraph.invoke(graph.compile(checkpointer), {"drafts": 0}, self.job_run)


@shared_task(base=JobTask, bind=True)
def leaky_graph(self, job_id: str, prompt: str) -> None:
    @tool
    def send(note: str) -> None:
        """Raise an error that contains the arguments."""
        headers = [("authorization", f"Bearer {note}"), ("x-api-key", note)]
        raise ConnectionError(f"POST {headers}: {note}") from KeyError(prompt)

    graph = node_graph(ToolNode([send], handle_tool_errors=False))
    state: State = {"messages": [call("send", note=prompt)]}
    with saver() as checkpointer:
        graph.checkpointer = checkpointer
        langgraph.invoke(graph, state, self.job_run, record=RecordOptions(tool_inputs=True))


@shared_task(base=JobTask, bind=True)
def survey_graph(self, job_id: str) -> Any:
    with saver() as checkpointer:
        return langgraph.invoke(survey(checkpointer, is_async=False), {}, self.job_run)


@shared_task(base=JobTask, bind=True)
async def async_survey_graph(self, job_id: str) -> Any:
    async with AsyncSqliteSaver.from_conn_string(FILE) as checkpointer:
        return await langgraph.ainvoke(survey(checkpointer, is_async=True), {}, self.job_run)


@shared_task(base=JobTask, bind=True)
def breakpoint_graph(self, job_id: str) -> Any:
    with saver() as checkpointer:
        graph = letter().compile(checkpointer, interrupt_before=["send"])
        return langgraph.invoke(graph, {"drafts": 0}, self.job_run)
