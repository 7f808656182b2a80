"""LangGraph's `interrupt()` as input requests of a job.

Each interrupt becomes a question of the job, with secrets redacted. After all answers the task runs
again and resumes the graph from its checkpointer with them.
"""

from collections.abc import Generator, Mapping
from typing import Any

from asgiref.sync import sync_to_async

from events.execution.run import Question, TaskRun
from events.integrations.langchain import RecordOptions, create_redis_callback_handler
from events.integrations.langchain.options import DEFAULTS

try:
    from langgraph.types import Command
except ImportError as error:
    raise ImportError(
        "Interrupts need LangGraph: pip install 'django-job-events[langgraph]'"
    ) from error

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
    The thread is named after job and attempt, unless `config` names one. A callback handler
    publishes the run according to `record`, and stops the graph if the job is cancelled. A task
    that runs again in the same attempt resumes from the last checkpoint.

    Raises InputPending until all questions are answered; it must end the task. Raises ValueError
    for a graph without a checkpointer.
    """
    steps = _steps(graph, graph_input, run, run.publisher, config, record)
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
    steps = _steps(graph, graph_input, run, run.async_publisher(), config, record)
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
) -> _Steps:
    """Run the graph from its thread's state to its end; performs no I/O itself."""
    thread, is_attempt_thread = _thread(graph, run, publisher, config, record)
    state = yield graph.get_state, graph.aget_state, thread
    questions = _questions(state, record)
    is_ended = is_attempt_thread and state.created_at is not None and not state.next
    if is_ended and not questions:
        return state.values  # the graph ended in an earlier run of the task, which then failed
    graph_input = None if state.next else graph_input
    while True:
        if questions:
            answers = yield run.ask_all, sync_to_async(run.ask_all), questions
            names = [question.name for question in questions]
            graph_input = Command(resume=dict(zip(names, answers, strict=True)))
        result = yield graph.invoke, graph.ainvoke, graph_input, thread
        state = yield graph.get_state, graph.aget_state, thread
        questions = _questions(state, record)
        if not questions:
            return result


def _questions(state: Any, record: RecordOptions) -> list[Question]:
    """Return the graph's interrupts as questions. Choices are not redacted: they are answers."""
    return [
        Question(each.id, record.redactor.value(each.value), _choices(each.value))
        for each in state.interrupts
    ]


def _choices(value: Any) -> tuple[str, ...]:
    choices = value.get("choices") if isinstance(value, Mapping) else None
    if not isinstance(choices, list):
        return ()
    return tuple(each for each in choices if isinstance(each, str) and each)


def _thread(
    graph: Any, run: TaskRun, publisher: Any, config: Config | None, record: RecordOptions
) -> tuple[dict[str, Any], bool]:
    """Return the config with thread and handler, and whether the thread belongs to the attempt."""
    if not getattr(graph, "checkpointer", None):
        raise ValueError(
            "The graph has no checkpointer, so it cannot be resumed after an interrupt."
        )
    merged = dict(config or {})
    configurable = dict(merged.get("configurable") or {})
    is_attempt_thread = "thread_id" not in configurable
    configurable.setdefault("thread_id", f"{run.job_id}:{run.attempt}")
    handler: Any = create_redis_callback_handler(
        run.job_id, publisher, record=record, should_cancel=run.should_cancel
    )
    callbacks = [*(merged.get("callbacks") or ()), handler]
    return {**merged, "configurable": configurable, "callbacks": callbacks}, is_attempt_thread
