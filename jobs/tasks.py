"""The job that this project was asked for: an outline, then a document, each a LangGraph graph.

LangGraph is imported when a task runs: a worker of a project that has Celery but not the extra
`langgraph` still starts.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from celery import shared_task

from events.exceptions import StaleEpoch
from events.publisher import SyncRedisStreamPublisher, get_publisher
from jobs import services
from jobs.conf import job_settings
from jobs.exceptions import InvalidTransition, StaleAttempt
from jobs.models import Job

logger = logging.getLogger(__name__)

OUTLINE: Final = "outline_generation"
DOCUMENT: Final = "document_generation"

# How much of the whole job an outline is, in per cent.
_OUTLINE_SHARE: Final = 40.0

_GIVEN_UP: Final = (InvalidTransition, StaleAttempt, StaleEpoch)


@shared_task
def generate_outline_from_query_task(
    job_id: str, task_prompt: str, context_files: Sequence[Mapping[str, str]] | None = None
) -> None:
    """Make an outline for a prompt, from files of `{"name", "text"}`; then the document follows."""

    def work(job: Job) -> None:
        steps = _Steps(
            job, get_publisher(epoch=job.attempt), OUTLINE, first=0.0, last=_OUTLINE_SHARE
        )
        outline = _write("outline", steps, task_prompt, context_files or [])
        steps.publisher.publish_outline_generated(job_id, outline)
        # The document follows; without job_status the row would be completed by this event.
        goes_on = {"job_status": Job.Status.RUNNING, "attempt": job.attempt}
        result = {"title": outline["title"]}
        steps.publisher.publish_task_completed(job_id, OUTLINE, result, **goes_on)
        generate_document_from_outline_task.delay(job_id, outline, attempt=job.attempt)

    _run(job_id, OUTLINE, work)


@shared_task
def generate_document_from_outline_task(
    job_id: str, outline: Mapping[str, Any], attempt: int | None = None
) -> None:
    """Write the document of an outline; the prompt and the files are those of the job.

    Without `attempt` it begins the job; with it, it goes on with that attempt of a running one.
    """

    def work(job: Job) -> None:
        first = _OUTLINE_SHARE if job.task_type == OUTLINE else 0.0
        steps = _Steps(job, get_publisher(epoch=job.attempt), DOCUMENT, first=first, last=100.0)
        prompt, files = job.payload.get("task_prompt", ""), job.payload.get("context_files") or []
        document = _write("document", steps, prompt, files, outline=outline)
        # An event has the text once: the page makes its Markdown of the sections.
        whole = {"title": document["title"], "sections": document["sections"]}
        steps.publisher.publish_document_generated(job_id, whole)
        result = {"title": document["title"], "markdown": document["markdown"]}
        services.job_complete(job_id=job_id, attempt=job.attempt, task_type=DOCUMENT, result=result)

    _run(job_id, DOCUMENT, work, attempt)


def _run(
    job_id: str, task_type: str, work: Callable[[Job], None], attempt: int | None = None
) -> None:
    """Begin the job, or its next task; do the work; say in the log what went wrong with it."""
    try:
        job = _begin(job_id, task_type, attempt)
    except _GIVEN_UP as reason:
        logger.info("task_not_begun", extra={"job_id": job_id, "reason": str(reason)})
        return
    try:
        work(job)
    except _GIVEN_UP as reason:
        logger.info("task_given_up", extra={"job_id": job_id, "reason": str(reason)})
    except Exception as error:
        services.job_fail(job_id=job_id, attempt=job.attempt, task_type=task_type, error=error)
        raise


def _begin(job_id: str, task_type: str, attempt: int | None) -> Job:
    if attempt is None:
        return services.job_start(job_id=job_id, task_type=task_type)
    running = Job.objects.filter(job_id=job_id, status=Job.Status.RUNNING, attempt=attempt)
    job = running.first()
    if job is None:
        raise StaleAttempt(f"Attempt {attempt} of job {job_id} does not run any more.")
    get_publisher(epoch=attempt).publish_task_started(job_id, task_type, attempt=attempt)
    return job


def _write(
    what: str,
    steps: "_Steps",
    task_prompt: str,
    context_files: Sequence[Mapping[str, str]],
    **state: Any,
) -> Any:
    """Run the graph that makes `what`, watched by the callback handler."""
    from events.integrations.langchain import SyncRedisCallbackHandler  # noqa: PLC0415
    from jobs.writing import chat, graphs, sources  # noqa: PLC0415

    model = chat.get_chat_model(
        job_settings.CHAT_MODEL, token_delay=job_settings.OFFLINE_TOKEN_DELAY
    )
    make = graphs.outline_graph if what == "outline" else graphs.document_graph
    files = [sources.ContextFile(name, text) for name, text in _texts(context_files)]
    graph: Any = make(model, files, steps)
    handler = SyncRedisCallbackHandler(steps.job.job_id, steps.publisher, control_flow=_GIVEN_UP)
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

    job: Job
    publisher: SyncRedisStreamPublisher
    task_type: str
    first: float
    last: float

    def progress(self, fraction: float, message: str) -> None:
        services.job_progress(
            job_id=self.job.job_id,
            attempt=self.job.attempt,
            task_type=self.task_type,
            progress=round(self.first + (self.last - self.first) * fraction, 1),
            message=message,
        )

    def section(self, section: Mapping[str, Any]) -> None:
        event = {"event_type": "document_section", "section": section}
        self.publisher.publish_event(self.job.job_id, event)
