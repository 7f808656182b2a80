"""Tables of the monitor: failing task types, stuck and waiting jobs, workers, alerts."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Count, Exists, F, Min, OuterRef, Q, QuerySet

from events.database import column_time, database_now
from jobs.conf import job_settings
from jobs.models import Alert, AlertDelivery, Attempt, InputRequest, Job, Task
from jobs.selectors import may_change

MAX_ROWS: Final = 50
MAX_FAILING_TYPES: Final = 10
MAX_ERROR_CHARACTERS: Final = 500
# Of more running jobs or open questions, the table considers these many.
_MAX_CANDIDATES: Final = 10_000
# The last error of a task_type is that of one of so many of its jobs.
_MAX_RECENT_JOBS: Final = 200
_COLUMNS: Final = (
    "job_id", "title", "task_type", "owner_id", "status", "attempt", "started_at", "last_event_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job that needs attention; `since` is the time from which it has made no progress.

    `state` is "stuck" (neither events nor heartbeats), "quiet" (heartbeats without events) or
    "waiting" (an open question).
    """

    job_id: str
    attempt: int
    title: str
    task_type: str
    url: str | None
    state: str
    since: datetime | None
    last_event_at: datetime | None
    heartbeat_at: datetime | None
    worker: str
    may_change: bool


@dataclass(frozen=True, slots=True)
class FailingType:
    """A task_type with failed attempts, and the last failure among those that the user may see."""

    task_type: str
    ended: int
    failed: int
    rate: float
    last_error: str = ""
    job_id: str | None = None
    attempt: int | None = None
    url: str | None = None
    may_retry: bool = False


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker with running tasks: "alive", or "late" if its oldest heartbeat is.

    `state` is "unknown" if it sends no heartbeats.
    """

    name: str
    tasks: int
    heartbeat_at: datetime | None
    state: str


def running_jobs(jobs: QuerySet[Job]) -> QuerySet[Job]:
    """Return running jobs without an open question, the oldest first.

    Of more than 10,000 running jobs, the oldest are considered.
    """
    running = jobs.filter(status=Job.Status.RUNNING).order_by("created_at", "id")
    oldest = running.values("pk")[:_MAX_CANDIDATES]
    asked = InputRequest.objects.filter(
        job=OuterRef("pk"), attempt=OuterRef("attempt"), answered_at=None
    )
    # The status again, for the planner.
    found = Job.objects.filter(~Exists(asked), pk__in=oldest, status=Job.Status.RUNNING)
    return found.order_by("created_at", "id")


def silent_jobs(jobs: QuerySet[Job], before: datetime) -> QuerySet[Job]:
    """Return those of the running jobs that have had no event since a time."""
    silent = Q(last_event_at__lt=before) | Q(last_event_at=None)
    return running_jobs(jobs).filter(silent, started_at__lt=before)


def jobs_without_signs(jobs: QuerySet[Job]) -> QuerySet[Job]:
    """Return the stuck jobs among running jobs: without events and without heartbeats."""
    before = stuck_before()
    alive = Task.objects.filter(
        job=OuterRef("pk"),
        attempt__number=OuterRef("attempt"),
        state__in=Task.ACTIVE,
        heartbeat_at__gte=before,
    )
    return silent_jobs(jobs, before).filter(~Exists(alive))


def stuck_before() -> datetime:
    """Return the time since which a stuck job has had no event."""
    return database_now() - timedelta(seconds=job_settings.STUCK_SECONDS)


def stuck_jobs(jobs: QuerySet[Job], user: Any) -> list[JobRow]:
    """Return the stuck jobs, then the quiet ones; each the oldest first."""
    before = stuck_before()
    silent = list(silent_jobs(jobs, before).only(*_COLUMNS)[: 2 * MAX_ROWS])
    tasks = _active_tasks(silent)
    rows = [_silent_row(job, tasks.get(job.pk), before, user) for job in silent]
    return sorted(rows, key=lambda row: row.state != "stuck")[:MAX_ROWS]


def _silent_row(job: Job, task: Task | None, before: datetime, user: Any) -> JobRow:
    heartbeat = task.heartbeat_at if task else None
    since = max(filter(None, (job.started_at, job.last_event_at)), default=None)
    if heartbeat is not None and heartbeat >= before:
        return _job_row(job, "quiet", since, task, user)
    return _job_row(job, "stuck", max(filter(None, (since, heartbeat)), default=None), task, user)


def open_questions() -> QuerySet[InputRequest]:
    """Return the open questions of current attempts.

    Of more than 10,000 open questions, also of ended jobs, the newest are considered.
    """
    newest = InputRequest.objects.filter(answered_at=None).order_by("-asked_at", "-id")
    return InputRequest.objects.filter(
        pk__in=newest.values("pk")[:_MAX_CANDIDATES], answered_at=None, attempt=F("job__attempt")
    )


def jobs_awaiting_input(jobs: QuerySet[Job]) -> QuerySet[Job]:
    """Return the running jobs with an open question."""
    running = jobs.filter(status=Job.Status.RUNNING)
    return running.filter(pk__in=open_questions().order_by().values("job"))


def waiting_jobs(jobs: QuerySet[Job], user: Any) -> list[JobRow]:
    """Return the jobs with an open question, the longest waiting first."""
    running = jobs.filter(status=Job.Status.RUNNING).order_by().values("pk")
    requests = open_questions().filter(job__in=running)
    first = requests.order_by("asked_at", "id").select_related("job")
    only = [f"job__{name}" for name in _COLUMNS]
    asked: dict[int, InputRequest] = {}
    for each in first.only("job", "asked_at", *only)[: 2 * MAX_ROWS]:
        asked.setdefault(each.job_id, each)
    rows = [_job_row(each.job, "waiting", each.asked_at, None, user) for each in asked.values()]
    return rows[:MAX_ROWS]


def states_of(jobs: Iterable[Job]) -> dict[int, str]:
    """Return "waiting" or "stuck" by primary key, for those of some jobs that are."""
    running = [job for job in jobs if job.status == Job.Status.RUNNING]
    questions = InputRequest.objects.filter(
        job__in=[job.pk for job in running], answered_at=None, attempt=F("job__attempt")
    )
    asked = {question.job_id for question in questions.only("job")} if running else set[int]()
    before = stuck_before()
    silent = [job for job in running if job.pk not in asked and _is_silent(job, before)]
    tasks = _active_tasks(silent) if silent else {}
    alive = {pk for pk, task in tasks.items() if task.heartbeat_at and task.heartbeat_at >= before}
    stuck = [job.pk for job in silent if job.pk not in alive]
    return {**dict.fromkeys(asked, "waiting"), **dict.fromkeys(stuck, "stuck")}


def _is_silent(job: Job, before: datetime) -> bool:
    return job.started_at is not None and max(job.started_at, job.last_event_at or before) <= before


def _active_tasks(jobs: Iterable[Job]) -> dict[int, Task]:
    """Return the active task of each job with the latest heartbeat, by primary key of the job."""
    keys = [job.attempt_key for job in jobs]
    active = Task.objects.filter(attempt__in=keys, state__in=Task.ACTIVE)
    ordered = active.order_by(F("heartbeat_at").asc(nulls_first=True))
    return {task.job_id: task for task in ordered.only("job_id", "heartbeat_at", "worker")}


def _job_row(job: Job, state: str, since: datetime | None, task: Task | None, user: Any) -> JobRow:
    return JobRow(
        job_id=job.job_id,
        attempt=job.attempt,
        title=str(job),
        task_type=job.task_type,
        url=job.page_url,
        state=state,
        since=since,
        last_event_at=job.last_event_at,
        heartbeat_at=task.heartbeat_at if task else None,
        worker=task.worker if task else "",
        may_change=may_change(user, job),
    )


def failing_types(
    ended: Mapping[str, Mapping[str, int]], jobs: QuerySet[Job], since: datetime, user: Any
) -> list[FailingType]:
    """Return the task types with the most failed attempts, from the attempts by type and status.

    The last error is that of a job among `jobs`, the newest of its type.
    """
    failed = {name: counts.get(Job.Status.FAILED, 0) for name, counts in ended.items()}
    names = sorted((name for name in failed if failed[name]), key=lambda name: -failed[name])
    types = [
        FailingType(name, total := sum(ended[name].values()), failed[name], failed[name] / total)
        for name in names[:MAX_FAILING_TYPES]
    ]
    return [_with_last_failure(each, jobs, since, user) for each in types]


def _with_last_failure(
    failing: FailingType, jobs: QuerySet[Job], since: datetime, user: Any
) -> FailingType:
    of_type = jobs.filter(task_type=failing.task_type).order_by("-created_at", "-id")
    failed = Attempt.objects.filter(
        job__in=of_type.values("pk")[:_MAX_RECENT_JOBS],
        status=Job.Status.FAILED,
        finished_at__gte=column_time(since),
    )
    columns = [f"job__{name}" for name in _COLUMNS]
    last = failed.order_by("-finished_at").select_related("job").only("error", *columns).first()
    if last is None:
        return failing
    job = last.job
    return replace(
        failing,
        last_error=last.error[:MAX_ERROR_CHARACTERS],
        job_id=job.job_id,
        attempt=job.attempt,
        url=job.page_url,
        may_retry=job.status == Job.Status.FAILED and may_change(user, job),
    )


def workers() -> list[WorkerRow]:
    """Return the workers with running tasks; the one with the oldest heartbeat first."""
    active = Task.objects.filter(state__in=Task.ACTIVE, job__status=Job.Status.RUNNING)
    grouped = active.order_by().values("worker").annotate(tasks=Count("pk"))
    rows = grouped.annotate(heartbeat_at=Min("heartbeat_at")).order_by(
        F("heartbeat_at").asc(nulls_last=True), "worker"
    )
    latest = database_now() - timedelta(seconds=job_settings.WORKER_TIMEOUT / 2)
    return list(_worker_rows(rows[:MAX_ROWS], latest))


def _worker_rows(rows: Iterable[Mapping[str, Any]], latest: datetime) -> Iterator[WorkerRow]:
    for row in rows:
        seen = row["heartbeat_at"]
        state = "unknown" if seen is None else "late" if seen < latest else "alive"
        yield WorkerRow(row["worker"], row["tasks"], seen, state)


def open_alerts() -> list[Alert]:
    """Return the alerts that are pending or firing, the newest first."""
    rows = Alert.objects.filter(resolved_at=None).order_by("-pending_at", "-id")
    return list(rows[:MAX_ROWS])


def failed_deliveries() -> list[AlertDelivery]:
    """Return the deliveries that have failed so far, the newest first."""
    failed = AlertDelivery.objects.filter(delivered_at=None).exclude(error="").order_by("-id")
    return list(failed.select_related("message").defer("message__body")[:MAX_ROWS])
