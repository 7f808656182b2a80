"""LangGraph's `interrupt()` as input requests of a job.

An interrupted graph has its state in its checkpointer. Each interrupt becomes a question of the
job: the event `input_requested`, and a form on the job's page, with secrets redacted. After all
answers the task runs again and resumes the graph with them.

invoke, ainvoke  run or resume a graph for a task run
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from asgiref.sync import sync_to_async

from events.execution.run import Question, TaskRun
from events.integrations.langchain import RecordOptions, create_redis_callback_handler

try:
    from langgraph.types import Command
except ImportError as error:
    raise ImportError(
        "Interrupts need LangGraph: pip install 'django-job-events[langgraph]'"
    ) from error

Config = Mapping[str, Any]
RECORD: Final = RecordOptions()


class _Invoke(NamedTuple):
    """Request to invoke the graph with this input."""

    graph_input: Any


class _RequestInput(NamedTuple):
    """Request for the answers to these questions."""

    questions: Sequence[Question]


# Receives the answers after _RequestInput; the result and the graph's state after _Invoke.
_Steps = Generator[_Invoke | _RequestInput, Any, Any]


def invoke(
    graph: Any,
    graph_input: Any,
    run: TaskRun,
    *,
    config: Config | None = None,
    record: RecordOptions = RECORD,
) -> Any:
    """Invoke or resume a graph for a task of a job; return its result.

    `graph` has a checkpointer that all workers share; `run` is `task.job_run` or `current_run()`.
    The thread is named after job and attempt, unless `config` names one. A callback handler
    publishes the run according to `record`, and stops the graph if the job is cancelled. A task
    that runs again in the same attempt resumes from the last checkpoint.

    Raises InputPending until all questions are answered; it must end the task. Raises ValueError
    for a graph without a checkpointer.
    """
    thread, is_attempt_thread = _thread(graph, run, run.publisher, config, record)
    steps = _steps(
        graph.get_state(thread), graph_input, record, is_attempt_thread=is_attempt_thread
    )
    reply: Any = None
    while True:
        try:
            step = steps.send(reply)
        except StopIteration as end:
            return end.value
        if isinstance(step, _RequestInput):
            reply = run.ask_all(step.questions)
        else:
            reply = graph.invoke(step.graph_input, thread), graph.get_state(thread)


async def ainvoke(
    graph: Any,
    graph_input: Any,
    run: TaskRun,
    *,
    config: Config | None = None,
    record: RecordOptions = RECORD,
) -> Any:
    """Async version of `invoke`."""
    thread, is_attempt_thread = _thread(graph, run, run.async_publisher(), config, record)
    steps = _steps(
        await graph.aget_state(thread), graph_input, record, is_attempt_thread=is_attempt_thread
    )
    reply: Any = None
    while True:
        try:
            step = steps.send(reply)
        except StopIteration as end:
            return end.value
        if isinstance(step, _RequestInput):
            reply = await sync_to_async(run.ask_all)(step.questions)
        else:
            reply = await graph.ainvoke(step.graph_input, thread), await graph.aget_state(thread)


def _steps(
    state: Any, graph_input: Any, record: RecordOptions, *, is_attempt_thread: bool
) -> _Steps:
    """Run the graph from a thread's state to its end; performs no I/O itself."""
    result, questions = state.values, _questions(state, record)
    if not questions:
        if is_attempt_thread and state.created_at is not None and not state.next:
            return result  # the graph ended in an earlier run of the task, which then failed
        result, state = yield _Invoke(None if state.next else graph_input)
        questions = _questions(state, record)
    while questions:
        answers = yield _RequestInput(questions)
        names = [question.name for question in questions]
        result, state = yield _Invoke(Command(resume=dict(zip(names, answers, strict=True))))
        questions = _questions(state, record)
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
