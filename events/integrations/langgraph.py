"""Graphs that ask persons: LangGraph's `interrupt()` by way of the job that runs the graph.

A graph that interrupts itself leaves its state in its checkpointer, and each interrupt becomes a
question of the job: the event `input_requested`, and a form on the job's page, where secrets are
`[redacted]`. When all are answered the task runs again, finds the state, and gives the answers to
the graph.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from asgiref.sync import sync_to_async

from events.execution.run import Question, TaskRun
from events.integrations.langchain import RecordOptions, create_redis_callback_handler

try:
    from langgraph.types import Command
except ImportError as error:
    raise ImportError(
        "Graphs that ask persons need LangGraph: pip install 'django-job-events[langgraph]'"
    ) from error

Config = Mapping[str, Any]
RECORD: Final = RecordOptions()


@dataclass(frozen=True, slots=True)
class _Invoke:
    """The graph is to be invoked with this."""

    given: Any


@dataclass(frozen=True, slots=True)
class _Ask:
    """Persons are to be asked this."""

    questions: Sequence[Question]


# Is sent the answers to what it asks, and after an invocation the result and the graph's state.
_Conversation = Generator[_Invoke | _Ask, Any, Any]


def invoke(
    graph: Any,
    given: Any,
    run: TaskRun,
    *,
    config: Config | None = None,
    record: RecordOptions = RECORD,
) -> Any:
    """Invoke a graph for a task of a job, or go on with it; returns what the graph does.

    `graph` is compiled with a checkpointer that other workers read, too; `run` is `task.job_run` or
    `current_run()`. The thread is that of the attempt, unless `config` names one. What the graph
    does is published by a callback handler, as `record` says, and a cancelled job stops it. A task
    that is run again in its attempt goes on from the last checkpoint.

    Raises InputPending while a person has to answer: let it end the task. Raises ValueError for a
    graph without a checkpointer.
    """
    handler = create_redis_callback_handler(
        run.job_id, run.publisher, record=record, should_cancel=run.should_cancel
    )
    thread, is_ours = _thread(graph, run, config, handler)
    conversation = _conversation(graph.get_state(thread), given, record, is_ours=is_ours)
    answer: Any = None
    while True:
        try:
            step = conversation.send(answer)
        except StopIteration as end:
            return end.value
        if isinstance(step, _Ask):
            answer = run.ask_all(step.questions)
        else:
            answer = graph.invoke(step.given, thread), graph.get_state(thread)


async def ainvoke(
    graph: Any,
    given: Any,
    run: TaskRun,
    *,
    config: Config | None = None,
    record: RecordOptions = RECORD,
) -> Any:
    """The async twin of `invoke`."""
    handler = create_redis_callback_handler(
        run.job_id, run.async_publisher(), record=record, should_cancel=run.should_cancel
    )
    thread, is_ours = _thread(graph, run, config, handler)
    conversation = _conversation(await graph.aget_state(thread), given, record, is_ours=is_ours)
    answer: Any = None
    while True:
        try:
            step = conversation.send(answer)
        except StopIteration as end:
            return end.value
        if isinstance(step, _Ask):
            answer = await sync_to_async(run.ask_all)(step.questions)
        else:
            answer = await graph.ainvoke(step.given, thread), await graph.aget_state(thread)


def _conversation(state: Any, given: Any, record: RecordOptions, *, is_ours: bool) -> _Conversation:
    """From the state of a thread to the end of the graph: the same for sync and async."""
    result, questions = state.values, _questions(state, record)
    if not questions:
        if is_ours and state.created_at is not None and not state.next:
            return result  # the attempt's graph is done; its task was cut off just after
        result, state = yield _Invoke(None if state.next else given)
        questions = _questions(state, record)
    while questions:
        answers = yield _Ask(questions)
        names = [question.name for question in questions]
        result, state = yield _Invoke(Command(resume=dict(zip(names, answers, strict=True))))
        questions = _questions(state, record)
    return result


def _questions(state: Any, record: RecordOptions) -> list[Question]:
    """What the graph asks, by the ids of its interrupts; the choices are what it is answered."""
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
    graph: Any, run: TaskRun, config: Config | None, handler: Any
) -> tuple[dict[str, Any], bool]:
    """The config with a thread and the handler, and whether the thread is the attempt's own."""
    if not getattr(graph, "checkpointer", None):
        raise ValueError("The graph has no checkpointer: what it asks could not be answered later.")
    given = dict(config or {})
    names = dict(given.get("configurable") or {})
    is_ours = "thread_id" not in names
    names.setdefault("thread_id", f"{run.job_id}:{run.attempt}")
    callbacks = [*(given.get("callbacks") or ()), handler]
    return {**given, "configurable": names, "callbacks": callbacks}, is_ours
