"""Selectors: queries of jobs, and the permissions of users."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar, cast

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser, AbstractUser, AnonymousUser
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.module_loading import import_string

from events.archive.lookups import match_terms
from events.archive.terms import words_of
from events.database import primary_rows
from events.error_text import ErrorText
from events.types import check_job_id
from jobs.conf import job_settings
from jobs.exceptions import JobNotFound
from jobs.execution.dispatch import runner_entry
from jobs.models import Job

User = AbstractBaseUser | AnonymousUser
T = TypeVar("T")

NEWEST_JOBS: Final = 1000
# Databases limit the parameters of a query; SQLite to some thousand.
_CHUNK_KEYS: Final = 500
_MAX_SEARCH_WORDS: Final = 20


def user_of(request: Any) -> AbstractUser:
    """Return the authenticated user of a Django or DRF request."""
    return cast(AbstractUser, request.user)


def visible_jobs(user: User) -> QuerySet[Job]:
    """Return the jobs that a user may see, as the setting VISIBLE_JOBS defines.

    Every access to a job or its events goes through this function. Anonymous and inactive users see
    no jobs.
    """
    if not user.is_authenticated or not user.is_active:
        return Job.objects.none()
    jobs: QuerySet[Job] = _function(job_settings.VISIBLE_JOBS)(user)
    return jobs


def _function(rule: Any) -> Callable[..., Any]:
    function: Callable[..., Any] = import_string(rule) if isinstance(rule, str) else rule
    return function


def own_jobs(user: AbstractBaseUser) -> QuerySet[Job]:
    """Return all jobs to staff with the permission to view jobs, else the user's own."""
    return Job.objects.all() if sees_all(user) else Job.objects.filter(owner_id=user.pk)


def sees_all(user: User) -> bool:
    """Return whether a user is staff and has the permission `job_events_jobs.view_job`."""
    return getattr(user, "is_staff", False) and has_permission(user, "job_events_jobs.view_job")


def sees_others(user: User) -> bool:
    """Return whether a user may see jobs of other users; a project's VISIBLE_JOBS may show some."""
    return sees_all(user) if _has_default_rule() else user.is_authenticated


def sees_every_job(user: User) -> bool:
    """Return whether all jobs are visible to a user; False with a project's VISIBLE_JOBS."""
    return _has_default_rule() and sees_all(user)


def _has_default_rule() -> bool:
    rule = job_settings.VISIBLE_JOBS
    return rule is own_jobs or bool(rule == "jobs.selectors.own_jobs")


def sees_monitor(user: User) -> bool:
    """Return whether a user may see figures of all jobs and of their processing."""
    return has_permission(user, "job_events_jobs.view_monitor")


def has_permission(user: Any, name: str) -> bool:
    """Return whether a user has a permission; custom user models may not support permissions."""
    has_perm = getattr(user, "has_perm", None)
    return has_perm is not None and bool(has_perm(name))


def may_start(user: Any, task_type: str) -> bool:
    """Return whether a user may start jobs of a task_type, as the setting MAY_START defines."""
    return bool(_function(job_settings.MAY_START)(user, task_type))


def has_start_permission(user: Any, task_type: str) -> bool:
    """Return whether a user has the `permission` of the runner, by default that to add jobs."""
    permission = runner_entry(task_type).get("permission", "job_events_jobs.add_job")
    return has_permission(user, permission)


def startable_task_types(user: Any) -> list[str]:
    """Return the task_types with a runner that a user may start, in the order of RUNNERS."""
    return [task_type for task_type in job_settings.RUNNERS if may_start(user, task_type)]


def may_change(user: Any, job: Job) -> bool:
    """Return whether a user who may see a job may cancel and retry it.

    The owner may, and users with the permission `job_events_jobs.change_job`.
    """
    return job.owner_id == user.pk or has_permission(user, "job_events_jobs.change_job")


def may_delete(user: Any, job: Job) -> bool:
    """Return whether a user who may see a job may delete it.

    The owner may, and users with the permission `job_events_jobs.delete_job`.
    """
    return job.owner_id == user.pk or has_permission(user, "job_events_jobs.delete_job")


def list_rows(jobs: QuerySet[Job]) -> QuerySet[Job]:
    """Return the jobs with their owners, and without the large fields."""
    return jobs.select_related("owner").defer("payload", "result", "terms")


def newest_task_types(jobs: QuerySet[Job]) -> set[str]:
    """Return the task_types of the newest of the jobs."""
    newest = jobs.order_by("-created_at", "-id").values_list("task_type", flat=True)
    return set(newest[:NEWEST_JOBS])


def users_named(names: Iterable[str]) -> list[Any]:
    """Return the primary keys of the users with these names.

    Conditions on jobs name the keys: with a join, PostgreSQL may read all jobs for a user with few.
    """
    model, values = get_user_model(), list[Any]()
    field: Any = model._meta.get_field(model.USERNAME_FIELD)  # noqa: SLF001 - documented by Django
    for name in names:
        with suppress(ValidationError):  # of a number or a UUID
            values.append(field.to_python(name))
    users = primary_rows(model).filter(**{f"{model.USERNAME_FIELD}__in": values})
    return list(users.values_list("pk", flat=True))


def search_jobs(jobs: QuerySet[Job], text: str) -> QuerySet[Job]:
    """Return the jobs whose title, task_type and job_id contain all words of a text.

    A word may be the start of a longer one. An empty text matches all jobs, one without a word
    none.
    """
    if not text:
        return jobs
    words = dict.fromkeys(words_of(text)[:_MAX_SEARCH_WORDS])
    if not words:
        return jobs.none()
    return match_terms(jobs, [(f"{word}*",) for word in words], "job_events_jobs_terms")


def visible_job(user: User, job_id: str) -> Job:
    """Return a job. Raises InvalidJobId, and JobNotFound if it is not visible to the user."""
    try:
        return visible_jobs(user).select_related("owner").get(job_id=check_job_id(job_id))
    except Job.DoesNotExist as error:
        raise JobNotFound(
            ErrorText("The job_id %(job_id)s is not available.", job_id=job_id)
        ) from error


def visible_status(user: User, job_id: str) -> str:
    """Return the status of a job; raises what `visible_job` raises."""
    return visible_statuses(user, [job_id])[job_id]


def visible_statuses(user: User, job_ids: Sequence[str]) -> dict[str, str]:
    """Return the status of each of the jobs. Raises what `visible_job` raises, for the first."""
    checked = [check_job_id(job_id) for job_id in job_ids]
    jobs = visible_jobs(user).filter(job_id__in=checked).values_list("job_id", "status")
    statuses = {job_id: str(status) for job_id, status in jobs}
    for job_id in checked:
        if job_id not in statuses:
            raise JobNotFound(ErrorText("The job_id %(job_id)s is not available.", job_id=job_id))
    return statuses


def job_states(job_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the status, attempt and finish time of those of the jobs that exist."""
    jobs = Job.objects.values("job_id", "status", "attempt", "finished_at")
    return fetch_in_chunks(
        job_ids, lambda chunk: ((row["job_id"], row) for row in jobs.filter(job_id__in=chunk))
    )


def fetch_in_chunks(
    keys: Iterable[T], fetch: Callable[[list[T]], Iterable[tuple[T, Any]]]
) -> dict[T, Any]:
    """Return the pairs of key and value that `fetch` returns for chunks of `keys`, as a dict."""
    rows = dict[T, Any]()
    for chunk in in_chunks(keys):
        rows.update(fetch(chunk))
    return rows


def in_chunks(keys: Iterable[T]) -> Iterator[list[T]]:
    """Yield lists of keys for queries and statements with one parameter for each key."""
    remaining = list(keys)
    for start in range(0, len(remaining), _CHUNK_KEYS):
        yield remaining[start : start + _CHUNK_KEYS]
