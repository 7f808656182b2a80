"""Requests for input: questions of a running job, `input_requested`, and answers, `input_received`.

Both events are published in the transaction that changes the rows. A job that awaits input stays
running without a worker; the last answer enqueues its task again.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import JSONField, QuerySet, Value
from django.utils import timezone

from events.conf import event_settings
from events.database import atomic, on_commit
from events.error_text import ErrorText
from events.exceptions import InvalidJobId
from events.execution.run import Question
from events.json_values import convert
from events.types import check_job_id, shown
from jobs import services, transitions
from jobs.conf import job_settings
from jobs.exceptions import AlreadyAnswered, InputNotFound, InvalidJob
from jobs.execution.dispatch import resume_task
from jobs.models import InputRequest, Job, Task

_MAX_CHOICES: Final = 100


def input_request(
    *,
    job_id: str,
    name: str,
    prompt: Any,
    choices: Sequence[str] = (),
    attempt: int | None = None,
    **data: Any,
) -> InputRequest:
    """Request input; return the existing request if the attempt has one of this name.

    `name` has the form of a job_id, `prompt` is any value, which the event may shorten, `choices`
    are the allowed answers. Raises InvalidTransition unless the job is running, StaleAttempt,
    InvalidJob, JobNotFound.
    """
    question = checked(Question(name, prompt, choices))
    with atomic():
        job = transitions.lock_job(check_job_id(job_id))
        return ask(job, question, attempt=attempt, **data)


def ask(
    job: Job,
    question: Question,
    external_id: str = "",
    *,
    attempt: int | None = None,
    **data: Any,
) -> InputRequest:
    """Request input of a locked job for a task. The question is `checked`."""
    transitions.check_allowed(transitions.INPUT, job, attempt)
    requests = job.inputs.filter(attempt=job.attempt)
    existing = find_request(requests, question, external_id)
    if existing is not None:
        return existing
    name, prompt, allowed = question.name, question.prompt, list(question.choices)
    if name:
        external_id = ""
    else:
        known = set(requests.values_list("name", flat=True))
        name = next(each for n in itertools.count(1) if (each := f"input-{n}") not in known)
    # A plain None would be NULL in SQL.
    stored = Value(None, JSONField()) if prompt is None else prompt
    request = job.inputs.create(
        attempt=job.attempt, name=name, external_id=external_id, prompt=stored, choices=allowed
    )
    request.prompt = prompt
    data = {**data, **({"choices": allowed} if allowed else {})}
    transitions.publish(job, "input_requested", name=name, prompt=prompt, **data)
    return request


def checked(question: Question) -> Question:
    """Return a question whose prompt and choices are JSON. Raises InvalidJob.

    One with a position needs no name. Call it before the transaction: converting may take long.
    """
    prompt = transitions.converted_json(question.prompt, job_settings.MAX_PAYLOAD_BYTES)
    if question.name or not question.position:
        _check_name(question.name)
    return replace(question, prompt=prompt, choices=_validated_choices(question.choices))


def find_request(
    requests: QuerySet[InputRequest], question: Question, external_id: str
) -> InputRequest | None:
    """Return the request of an attempt for a question of a task."""
    if question.name:
        return requests.filter(name=question.name).first()
    own = requests.filter(external_id=external_id).order_by("pk")
    return own[question.position - 1 : question.position].first()


def input_give(
    *,
    job_id: str,
    name: str,
    value: Any,
    by: AbstractBaseUser | None = None,
    attempt: int | None = None,
) -> InputRequest:
    """Answer a request of the current attempt. Idempotent for the same answer of the same user.

    Raises InputNotFound, AlreadyAnswered, InvalidJob, InvalidTransition, JobNotFound,
    StaleAttempt if `attempt` is given and is not the current one.
    """
    value = transitions.normalized_json("value", value, event_settings.MAX_EVENT_BYTES // 2)
    username = str(by.get_username()) if by is not None else ""
    with atomic():
        job = transitions.lock_job(check_job_id(job_id))
        transitions.check_allowed(transitions.INPUT, job, attempt)
        request = _current_request(job, name)
        if request.answered_at is not None:
            if (request.value, request.answered_by) == (value, username):
                return request
            user = request.answered_by or ErrorText("an anonymous user")
            raise AlreadyAnswered(
                ErrorText("%(name)s was answered by %(user)s.", name=name, user=user)
            )
        _check_choice(request, value)
        request.value, request.answered_by = value, username
        request.answered_at = timezone.now()
        request.save(update_fields=("value", "answered_by", "answered_at"))
        data = {"by": username} if username else {}
        transitions.publish(job, "input_received", name=name, value=value, **data)
        resume_if_answered(job)
    return request


def _current_request(job: Job, name: str) -> InputRequest:
    request = job.inputs.filter(attempt=job.attempt, name=name).first()
    if request is None:
        raise InputNotFound(
            ErrorText(
                "Job %(job_id)s has no request for input %(name)s.",
                job_id=job.job_id,
                name=shown(name),
            )
        )
    return request


def _check_choice(request: InputRequest, value: Any) -> None:
    if request.choices and value not in request.choices:
        allowed = ", ".join(map(repr, request.choices))
        text = ErrorText(
            "is one of %(allowed)s. Given: %(value)s.", allowed=allowed, value=shown(value)
        )
        raise InvalidJob("value", text)


def _check_name(name: str) -> None:
    try:
        check_job_id(name)
    except InvalidJobId as error:
        text = ErrorText(
            "is 1 to 64 of the characters A-Z, a-z, 0-9, _ and -. Given: %(value)s.",
            value=shown(name),
        )
        raise InvalidJob("name", text) from error


def _validated_choices(choices: Sequence[str]) -> list[str]:
    texts: list[Any] = [None] if isinstance(choices, str) else convert(list(choices))
    is_valid = all(isinstance(text, str) and text != "" for text in texts)
    if not is_valid or len(texts) > _MAX_CHOICES:
        text = ErrorText("are at most %(limit)d texts, none of them empty.", limit=_MAX_CHOICES)
        raise InvalidJob("choices", text)
    limit = event_settings.MAX_EVENT_BYTES // 4
    normalized: list[str] = transitions.normalized_json("choices", texts, limit)
    return normalized


def resume_if_answered(job: Job) -> None:
    """Enqueue the suspended tasks of a locked job, if all its requests are answered."""
    if job.inputs.filter(attempt=job.attempt, answered_at=None).exists():
        return
    tasks = list(job.current_tasks.filter(state=Task.State.AWAITING_INPUT))
    if not tasks:
        return
    job.current_tasks.filter(state=Task.State.AWAITING_INPUT).update(state=Task.State.QUEUED)
    services.await_worker(job)
    on_commit(partial(_resume, job, tasks))


def _resume(job: Job, tasks: Sequence[Task]) -> None:
    with services.fail_on_dispatch_error(job):
        for task in tasks:
            resume_task(task, job.attempt)
