"""The job that this project was asked for: an outline, then a document, each a LangGraph graph.

LangGraph is imported when a task runs: a worker of a project that has Celery but not the extra
`langgraph` still starts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from celery import shared_task

from events.integrations.celery import JobTask
from jobs.conf import job_settings
from jobs.models import Job

OUTLINE: Final = "outline_generation"
DOCUMENT: Final = "document_generation"

# How much of the whole job an outline is, in per cent.
_OUTLINE_SHARE: Final = 40.0


@shared_task(base=JobTask, bind=True, task_type=OUTLINE)
def generate_outline_from_query_task(
    self: JobTask,
    job_id: str,
    task_prompt: str,
    context_files: Sequence[Mapping[str, str]] | None = None,
) -> dict[str, str]:
    """Make an outline for a prompt, from files of `{"name", "text"}`; then the document follows."""
    steps = _Steps(self, OUTLINE, first=0.0, last=_OUTLINE_SHARE)
    outline = _write("outline", steps, task_prompt, context_files or [])
    self.publisher.publish_outline_generated(job_id, outline)
    self.then(generate_document_from_outline_task.si(job_id, outline))
    return {"title": outline["title"]}


@shared_task(base=JobTask, bind=True, task_type=DOCUMENT)
def generate_document_from_outline_task(
    self: JobTask, job_id: str, outline: Mapping[str, Any]
) -> dict[str, str]:
    """Write the document of an outline; the prompt and the files are those of the job."""
    job = Job.objects.get(job_id=job_id)
    first = _OUTLINE_SHARE if job.task_type == OUTLINE else 0.0
    steps = _Steps(self, DOCUMENT, first=first, last=100.0)
    prompt, files = job.payload.get("task_prompt", ""), job.payload.get("context_files") or []
    document = _write("document", steps, prompt, files, outline=outline)
    # An event has the text once: the page makes its Markdown of the sections.
    whole = {"title": document["title"], "sections": document["sections"]}
    self.publisher.publish_document_generated(job_id, whole)
    return {"title": document["title"], "markdown": document["markdown"]}


def _write(
    what: str,
    steps: "_Steps",
    task_prompt: str,
    context_files: Sequence[Mapping[str, str]],
    **state: Any,
) -> Any:
    """Run the graph that makes `what`, watched by the callback handler."""
    from events.integrations.langchain import (  # noqa: PLC0415
        RecordOptions,
        SyncRedisCallbackHandler,
    )
    from jobs.writing import chat, graphs, sources  # noqa: PLC0415

    model = chat.get_chat_model(
        job_settings.CHAT_MODEL, token_delay=job_settings.OFFLINE_TOKEN_DELAY
    )
    make = graphs.outline_graph if what == "outline" else graphs.document_graph
    files = [sources.ContextFile(name, text) for name, text in _texts(context_files)]
    graph: Any = make(model, files, steps)
    run = steps.task.job_run
    handler = SyncRedisCallbackHandler(
        run.job_id,
        run.publisher,
        # The tools look things up in the user's own files: what they are asked may be shown.
        record=RecordOptions(tool_inputs=True),
        should_cancel=run.should_cancel,
    )
    given = {"task_prompt": task_prompt, **state}
    return graph.invoke(given, config={"callbacks": [handler]})[what]


def _texts(context_files: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    wrong = ValueError('context_files is a list of {"name": text, "text": text}.')
    try:
        texts: list[tuple[Any, Any]] = [(file["name"], file["text"]) for file in context_files]
    except (TypeError, KeyError) as error:
        raise wrong from error
    if not all(isinstance(part, str) for pair in texts for part in pair):
        raise wrong
    return texts


@dataclass(frozen=True, slots=True)
class _Steps:
    """What a graph tells on its way; telling it of a job that is over stops the graph."""

    task: JobTask
    task_type: str
    first: float
    last: float

    def progress(self, fraction: float, message: str) -> None:
        self.task.check_cancelled()
        done = self.first + (self.last - self.first) * fraction
        self.task.progress(round(done, 1), message)

    def section(self, section: Mapping[str, Any]) -> None:
        event = {"event_type": "document_section", "section": section}
        self.task.publisher.publish_event(self.task.job_run.job_id, event)
