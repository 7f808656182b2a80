"""The Celery tasks of the writing job: an outline from a prompt, a document from an outline.

LangGraph is imported when a task runs, so that a worker without the extra `langgraph` starts.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from celery import shared_task

from events.integrations.celery import JobTask
from jobs.conf import job_settings
from jobs.models import Job

OUTLINE: Final = "outline_generation"
DOCUMENT: Final = "document_generation"
OUTLINE_PERCENT: Final = 40.0  # progress of a job when its outline is complete

Files = Sequence[Mapping[str, str]]


@shared_task(base=JobTask, bind=True, task_type=OUTLINE)
def generate_outline_from_query_task(
    self: JobTask, job_id: str, task_prompt: str, context_files: Files | None = None
) -> dict[str, str]:
    """Write the outline of a prompt, then start the document.

    `context_files` are ``{"name": str, "text": str}``.
    """
    from jobs.writing.graphs import outline_graph  # noqa: PLC0415

    files = _validated_files(context_files)
    outline = _run(self, 0.0, OUTLINE_PERCENT, outline_graph, task_prompt, files)
    self.publisher.publish_outline_generated(job_id, outline)
    self.then(generate_document_from_outline_task.si(job_id, outline))
    return {"title": outline["title"]}


@shared_task(base=JobTask, bind=True, task_type=DOCUMENT)
def generate_document_from_outline_task(
    self: JobTask, job_id: str, outline: Mapping[str, Any]
) -> dict[str, str]:
    """Write the document of an outline. Prompt and context files are those of the job."""
    from jobs.writing.graphs import document_graph, to_markdown  # noqa: PLC0415

    job = Job.objects.get(job_id=job_id)
    first = OUTLINE_PERCENT if job.task_type == OUTLINE else 0.0
    prompt = job.payload.get("task_prompt", "")
    files = _validated_files(job.payload.get("context_files"))
    document = _run(self, first, 100.0, document_graph, prompt, files, outline)
    self.publisher.publish_document_generated(job_id, document)
    return {"title": document["title"], "markdown": to_markdown(document)}


def _run(task: JobTask, first: float, last: float, make: Any, prompt: str, *inputs: Any) -> Any:
    """Run a graph with the callback handler, which publishes its events and cancels it."""
    from events.integrations import langchain  # noqa: PLC0415
    from jobs.writing.chat_model import create_chat_model  # noqa: PLC0415

    def report(fraction: float, message: str, section: Mapping[str, Any] | None = None) -> None:
        task.check_cancelled()
        if section:
            event = {"event_type": "document_section", "section": section}
            run.publisher.publish_event(run.job_id, event)
        task.progress(round(first + (last - first) * fraction, 1), message)

    run, record = task.job_run, langchain.RecordOptions(tool_inputs=True)
    model = create_chat_model(job_settings.CHAT_MODEL)
    handler = langchain.create_redis_callback_handler(
        run.job_id, run.publisher, record=record, should_cancel=run.should_cancel
    )
    config = {"callbacks": [handler], "run_name": "writing"}
    return make(model, report, *inputs).invoke(prompt, config=config)


def _validated_files(files: Files | None) -> list[dict[str, str]]:
    with suppress(TypeError, KeyError):
        found = [{"name": file["name"], "text": file["text"]} for file in files or []]
        if all(isinstance(value, str) for file in found for value in file.values()):
            return found
    raise ValueError('context_files is a list of {"name": text, "text": text}.')
