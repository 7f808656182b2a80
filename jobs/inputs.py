"""A job asks a person, and is answered: the events `input_requested` and `input_received`.

Both are written with the state that they speak of, like the steps of a job. A job that waits for an
answer is running, and has no worker; with the last answer its task is brought to one again.
"""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.utils import timezone

from events.conf import event_settings
from events.exceptions import InvalidJobId
from events.types import check_job_id, shown
from jobs import services, transitions
from jobs.exceptions import (
    AlreadyAnswered,
    InputNotFound,
    InvalidJob,
    InvalidTransition,
    JobError,
    StaleAttempt,
)
from jobs.execution.dispatch import resume_task
from jobs.models import InputRequest, Job, Task

logger = logging.getLogger(__name__)

INPUT_REQUESTED: Final = "input_requested"
INPUT_RECEIVED: Final = "input_received"

_MOST_CHOICES: Final = 100


def input_request(
    *,
    job_id: str,
    name: str,
    prompt: Any,
    choices: Sequence[str] = (),
    attempt: int | None = None,
    **data: Any,
) -> InputRequest:
    """Ask; what was asked in this attempt by this name is returned as it is.

    `name` is of the form of a job_id, `prompt` text or any JSON for who answers, `choices` are the
    texts of which one has to be given. Raises InvalidTransition unless the job runs, StaleAttempt,
    InvalidJob, JobNotFound.
    """
    _check_name(name)
    asked = transitions.normalized_json("prompt", prompt, event_settings.MAX_EVENT_BYTES // 2)
    texts = _checked_choices(choices)
    with transaction.atomic():
        job = _running(job_id, attempt)
        known = job.inputs.filter(attempt=job.attempt, name=name).first()
        if known is not None:
            return known
        request = InputRequest.objects.create(
            job=job, attempt=job.attempt, name=name, prompt=asked, choices=texts
        )
        more = {**data, **({"choices": texts} if texts else {})}
        transitions.publish(job, INPUT_REQUESTED, name=name, prompt=asked, **more)
    return request


def input_give(
    *, job_id: str, name: str, value: Any, by: AbstractBaseUser | None = None
) -> InputRequest:
    """Answer what the present attempt asks; the same answer of the same user may come again.

    Raises InputNotFound, AlreadyAnswered, InvalidJob, InvalidTransition, JobNotFound.
    """
    given = transitions.normalized_json("value", value, event_settings.MAX_EVENT_BYTES // 2)
    with transaction.atomic():
        job = _running(job_id, None)
        request = job.inputs.filter(attempt=job.attempt, name=name).first()
        if request is None:
            raise InputNotFound(f"Job {job_id} asks for no {shown(name)}.")
        who = by.get_username() if by is not None else ""
        if request.answered_at is not None:
            if (request.value, request.answered_by) == (given, who):
                return request
            raise AlreadyAnswered(f"{name} was answered by {request.answered_by or 'somebody'}.")
        if request.choices and given not in request.choices:
            allowed = ", ".join(map(repr, request.choices))
            raise InvalidJob("value", f"is one of {allowed}. Given: {shown(given)}.")
        _answer(request, given, who)
        said = {"by": who} if who else {}
        transitions.publish(job, INPUT_RECEIVED, name=name, value=given, **said)
        go_on(job)
    return request


def _running(job_id: str, attempt: int | None) -> Job:
    job = transitions.lock_job(check_job_id(job_id))
    if attempt not in (None, job.attempt):
        raise StaleAttempt(f"Job {job_id} is at attempt {job.attempt}, not at {attempt}.")
    if job.status != Job.Status.RUNNING:
        raise InvalidTransition(f"Job {job_id} is {job.status}: only a running job asks.")
    return job


def _check_name(name: str) -> None:
    try:
        check_job_id(name)
    except InvalidJobId as error:
        words = "is 1 to 64 of the characters A-Z, a-z, 0-9, _ and -."
        raise InvalidJob("name", f"{words} Given: {shown(name)}.") from error


def _checked_choices(choices: Sequence[str]) -> list[str]:
    texts: list[Any] = [None] if isinstance(choices, str) else list(choices)
    is_right = all(isinstance(text, str) and text != "" for text in texts)
    if not is_right or len(texts) > _MOST_CHOICES:
        raise InvalidJob("choices", f"are at most {_MOST_CHOICES} texts, none of them empty.")
    kept: list[str] = transitions.normalized_json(
        "choices", texts, event_settings.MAX_EVENT_BYTES // 4
    )
    return kept


def _answer(request: InputRequest, value: Any, who: str) -> None:
    request.value, request.answered_by = value, who
    request.answered_at = timezone.now()
    request.save(update_fields=("value", "answered_by", "answered_at"))


def go_on(job: Job) -> None:
    """Bring the tasks to a worker that asked, once nothing is asked any more."""
    if job.inputs.filter(attempt=job.attempt, answered_at=None).exists():
        return
    asked = list(job.tasks.filter(state=Task.State.AWAITING_INPUT))
    if not asked:
        return
    job.tasks.filter(state=Task.State.AWAITING_INPUT).update(state=Task.State.QUEUED)
    services.set_pickup_deadline(job)
    job.save_deadline()
    transaction.on_commit(partial(_resume, job, asked))


def _resume(job: Job, tasks: Sequence[Task]) -> None:
    try:
        for task in tasks:
            resume_task(task, job.attempt)
    except Exception as error:
        # The answer is in the log: what is wrong is that nobody goes on with it.
        logger.exception("task_not_resumed", extra={"job_id": job.job_id})
        reason = f"Could not go on: {error}"
        try:
            services.job_fail(job_id=job.job_id, attempt=job.attempt, error=reason)
        except JobError:
            logger.info("job_over_before_resumed", extra={"job_id": job.job_id})
