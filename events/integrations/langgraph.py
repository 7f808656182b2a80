"""LangGraph's `interrupt()` as input requests of a job.

Each interrupt becomes a question of the job, with secrets redacted. After all answers the task runs
again and resumes the graph from its checkpointer with them. A stop before or after a node
(`interrupt_before`, `interrupt_after`) becomes a question whose only answer is `continue`.
"""

import itertools
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from asgiref.sync import sync_to_async
from langchain_core.callbacks import BaseCallbackManager
from langchain_core.runnables.config import var_child_runnable_config

from events.exceptions import InputPending
from events.execution.run import Question, TaskRun
from events.integrations.langchain import RecordOptions, create_redis_callback_handler
from events.integrations.langchain.errors import GraphBubbleUp
from events.integrations.langchain.handlers import JobHandler
from events.integrations.langchain.options import DEFAULTS
from events.json_values import convert

try:
    from langgraph.types import Command
except ImportError as error:
    raise ImportError(
        "Interrupts need LangGraph: pip install 'django-job-events[langgraph]'"
    ) from error


class GraphInputPending(InputPending, GraphBubbleUp):
    """The task awaits input. As a GraphBubbleUp it passes RetryPolicy and ToolNode unhandled."""


Config = Mapping[str, Any]
# Yields a sync function, its async version and their arguments; receives what it returns.
_Steps = Generator[tuple[Any, ...], Any, Any]


def invoke(
    graph: Any,
    graph_input: Any,
    run: TaskRun,
    *,
    config: Config | None = None,
    record: RecordOptions = DEFAULTS,
) -> Any:
    """Invoke or resume a graph for a task of a job; return its result.

    `graph` has a checkpointer that all workers share; `run` is `task.job_run` or `current_run()`.
    Unless `config` names a thread, it is named after job, attempt and task, and numbered from the
    second graph of the task on: whenever the task runs, it must call them in the same order. A
    callback handler publishes the run according to `record`, and stops the graph if the job is
    cancelled; it is not added if `config` or the calling run already has one of this job. A task
    that runs again in the same attempt resumes from the last checkpoint. Called in a node or tool
    of another graph without a thread of its own, the graph is a subgraph: it needs no checkpointer,
    and the outer graph handles its interrupts.

    Raises InputPending until all questions are answered; it must end the task. Raises ValueError
    for a graph without a checkpointer.
    """
    with _thread_of_task(run, config) as thread_id:
        steps = _steps(graph, graph_input, run, run.publisher, config, record, thread_id)
        reply: Any = None
        while True:
            try:
                function, _, *arguments = steps.send(reply)
            except StopIteration as end:
                return end.value
            reply = function(*arguments)


async def ainvoke(
    graph: Any,
    graph_input: Any,
    run: TaskRun,
    *,
    config: Config | None = None,
    record: RecordOptions = DEFAULTS,
) -> Any:
    """Async version of `invoke`."""
    with _thread_of_task(run, config) as thread_id:
        steps = _steps(graph, graph_input, run, run.async_publisher(), config, record, thread_id)
        reply: Any = None
        while True:
            try:
                _, function, *arguments = steps.send(reply)
            except StopIteration as end:
                return end.value
            reply = await function(*arguments)


def _steps(
    graph: Any,
    graph_input: Any,
    run: TaskRun,
    publisher: Any,
    config: Config | None,
    record: RecordOptions,
    own_thread_id: str,
) -> _Steps:
    """Run the graph from its thread's state to its end; performs no I/O itself."""
    run.pending_error = GraphInputPending  # a tool may ask, too
    merged = {**(config or {}), "callbacks": _callbacks(run, publisher, config, record)}
    if _is_subgraph(config):
        return (yield graph.invoke, graph.ainvoke, graph_input, merged)
    thread = _with_thread(graph, merged, own_thread_id)
    state = yield graph.get_state, graph.aget_state, thread
    questions = yield from _questions(graph, state, record)
    is_ended = state.created_at is not None and not _is_unfinished(state)
    if is_ended and own_thread_id and not questions:
        return _result(graph, state)  # it ended in an earlier run of the task, which then failed
    if is_ended and not own_thread_id:
        questions = []  # those of an earlier run in a thread of several jobs
    graph_input = None if state.next else graph_input
    if state.created_at is not None or run.attempt > 1:
        thread.pop("run_id", None)  # of an earlier run in this log
    while True:
        if questions:
            answers = yield run.ask_all, sync_to_async(run.ask_all), questions
            if not _is_unfinished(state):
                return _result(graph, state)  # it stopped after its last node
            resume = {each.name: answer for each, answer in zip(questions, answers, strict=True)}
            graph_input = Command(resume=resume) if state.interrupts else None
            thread.pop("run_id", None)
        result = yield graph.invoke, graph.ainvoke, graph_input, thread
        state = yield graph.get_state, graph.aget_state, thread
        questions = yield from _questions(graph, state, record)
        if not questions and state.next:  # a subgraph stopped at a breakpoint
            questions = [_breakpoint(state)]
        if not questions or not (own_thread_id or _is_unfinished(state)):
            return result


def _is_subgraph(config: Config | None) -> bool:
    """Return whether the caller is a node or tool of a graph, and the graph has its thread."""
    calling = var_child_runnable_config.get() or {}
    thread_ids = [
        (one.get("configurable") or {}).get("thread_id") for one in (calling, config or {})
    ]
    is_in_graph = "langgraph_node" in (calling.get("metadata") or {})
    return is_in_graph and thread_ids[1] in (None, thread_ids[0])


def _result(graph: Any, state: Any) -> Any:
    """Return what the graph returned when it ended."""
    names, values = getattr(graph, "output_channels", None), state.values
    if not (isinstance(names, (list, tuple)) and isinstance(values, Mapping)):
        return values
    return {name: values[name] for name in names if name in values}


def _is_unfinished(state: Any) -> bool:
    """Return whether nodes remain; `next` lacks a node that calls `interrupt` a second time."""
    return bool(state.next or state.interrupts)


def _is_at_breakpoint(graph: Any, state: Any) -> _Steps:
    """Return whether the graph stopped before or after a node, not within one."""
    if _includes(getattr(graph, "interrupt_before_nodes", ()), state.next):
        return True
    after = getattr(graph, "interrupt_after_nodes", ())
    if not after or state.parent_config is None:
        return False
    previous = yield graph.get_state, graph.aget_state, state.parent_config
    return _includes(after, previous.next)


def _includes(breakpoints: Any, nodes: Any) -> bool:
    return bool(nodes) and (breakpoints == "*" or not set(breakpoints).isdisjoint(nodes))


def _breakpoint(state: Any) -> Question:
    """Return the question of a graph that stopped before or after a node."""
    checkpoint_id = state.config["configurable"]["checkpoint_id"]
    prompt = f"Continue with {', '.join(state.next)}?" if state.next else "Finish?"
    return Question(f"breakpoint-{checkpoint_id}", prompt, ("continue",))


def _questions(graph: Any, state: Any, record: RecordOptions) -> _Steps:
    """Return the interrupts of a graph, or its stop at a breakpoint, as questions.

    Choices are not redacted: they are answers.
    """
    if not state.interrupts and (yield from _is_at_breakpoint(graph, state)):
        return [_breakpoint(state)]
    return [
        Question(each.id, record.redactor.value(convert(each.value)), _choices(each.value))
        for each in state.interrupts
    ]


def _choices(value: Any) -> tuple[str, ...]:
    choices = value.get("choices") if isinstance(value, Mapping) else None
    if not isinstance(choices, list):
        return ()
    return tuple(each for each in choices if isinstance(each, str) and each)


def _with_thread(graph: Any, config: Config, thread_id: str) -> dict[str, Any]:
    """Return the config with a thread, by default this one."""
    if not getattr(graph, "checkpointer", None):
        raise ValueError(
            "The graph has no checkpointer, so it cannot be resumed after an interrupt."
        )
    return {**config, "configurable": {"thread_id": thread_id, **_configurable(config)}}


def _configurable(config: Config | None) -> Mapping[str, Any]:
    return (config or {}).get("configurable") or {}


@contextmanager
def _thread_of_task(run: TaskRun, config: Config | None) -> Iterator[str]:
    """Return the thread of a graph that has none; its number is free again if the graph raises."""
    if "thread_id" in _configurable(config) or _is_subgraph(config):
        yield ""
        return
    number = next(number for number in itertools.count(1) if number not in run.graphs)
    run.graphs.add(number)
    suffix = f":{number}" if number > 1 else ""
    try:
        yield f"{run.job_id}:{run.attempt}:{run.delivery.external_id}{suffix}"
    except BaseException:
        run.graphs.discard(number)
        raise


def _callbacks(run: TaskRun, publisher: Any, config: Config | None, record: RecordOptions) -> Any:
    """Return the callbacks of the config or the calling run, with a handler of the job."""
    calling = var_child_runnable_config.get() or {}
    given: Any = (config or {}).get("callbacks") or calling.get("callbacks") or []
    is_manager = isinstance(given, BaseCallbackManager)
    handlers = given.handlers if is_manager else given
    if any(isinstance(one, JobHandler) and one.job_id == run.job_id for one in handlers):
        return given
    handler: Any = create_redis_callback_handler(
        run.job_id, publisher, record=record, should_cancel=run.should_cancel
    )
    if not is_manager:
        return [*handlers, handler]
    manager = given.copy()
    manager.add_handler(handler)
    return manager
