"""Reaper: fails jobs whose worker is dead or whose deadline has expired.

A worker without heartbeats for WORKER_TIMEOUT is dead, by the clock of the database. After an
outage of the database or of the reaper, every worker has the full WORKER_TIMEOUT again. Jobs that
another transaction has locked are skipped.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Final

from django.db.models import Q

from events.database import atomic, database_now, is_unavailable, now_expression
from events.execution.run import Reason
from jobs import services, transitions
from jobs.conf import job_settings
from jobs.exceptions import InvalidTransition, JobNotFound
from jobs.execution.claims import silent_tasks
from jobs.execution.deliveries import fail_lost_task
from jobs.models import Job, Task

logger = logging.getLogger(__name__)

Status = Job.Status

_MAX_JOBS: Final = 100
_INTERVAL_SECONDS: Final = 0.5
_MAX_STEP_SECONDS: Final = 1.0
_OUTAGE_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 60.0


class Reaper:
    """Step of `process_events`. Several processes may run one.

    With `single_pass` (`process_events --once`), it does not wait for WORKER_TIMEOUT first.
    """

    def __init__(self, *, single_pass: bool = False) -> None:
        self._single_pass = single_pass
        self._ran_at = self._observing_since = float("-inf")
        self._database_time: datetime | None = None
        self._retry_at: dict[str, float] = {}

    def step(self) -> int:
        """End jobs; return how many. Raises django.db.Error."""
        if monotonic() < self._ran_at + _INTERVAL_SECONDS and not self._single_pass:
            return 0
        count = self._fail_lost() + self._expire_deadlines()
        self._ran_at = monotonic()
        return count

    def _fail_lost(self) -> int:
        # The job must fail within WORKER_TIMEOUT, including the interval of the steps.
        seconds = job_settings.WORKER_TIMEOUT - 2 * _INTERVAL_SECONDS
        silent = silent_tasks(seconds).order_by("heartbeat_at").values_list("job__job_id", "pk")
        found = list(silent[:_MAX_JOBS])
        # Checked after the query, which may have blocked until the end of an outage.
        if not self._has_observed(seconds) and not self._single_pass:
            return 0
        return self._end((job_id, partial(_fail_lost, job_id, pk, seconds)) for job_id, pk in found)

    def _expire_deadlines(self) -> int:
        expired = Job.objects.filter(deadline_at__lte=now_expression()).order_by("deadline_at")
        job_ids = expired.values_list("job_id", flat=True)[:_MAX_JOBS]
        return self._end((job_id, partial(_expire_deadline, job_id)) for job_id in job_ids)

    def _end(self, jobs: Iterable[tuple[str, Callable[[], bool]]]) -> int:
        """End jobs for at most _MAX_STEP_SECONDS; return how many.

        If one fails, for example because a signal receiver raises, the others still proceed.
        """
        count, until = 0, monotonic() + _MAX_STEP_SECONDS
        for job_id, end in jobs:
            if monotonic() < self._retry_at.get(job_id, 0.0):
                continue
            try:
                count += end()
            except Exception as error:
                if is_unavailable(error):
                    raise
                self._retry_at[job_id] = monotonic() + _RETRY_SECONDS
                logger.exception("job_termination_failed", extra={"job_id": job_id})
            if monotonic() > until:
                break
        return count

    def _has_observed(self, seconds: float) -> bool:
        """Return whether steps ran without an interruption for some seconds.

        Compares the database's clock as well: the monotonic clock stops while a machine sleeps.
        """
        now, before = monotonic(), self._database_time
        self._database_time = time = database_now()
        outage = timedelta(seconds=_OUTAGE_SECONDS)
        is_interrupted = before is None or not before <= time <= before + outage
        if is_interrupted or now > self._ran_at + _OUTAGE_SECONDS:
            self._observing_since = now
        return now >= self._observing_since + seconds


def _fail_lost(job_id: str, task_pk: int, seconds: float) -> bool:
    """Fail a job, unless its worker has sent a heartbeat or another process was faster."""
    with atomic():
        job, task = _lock(job_id), silent_tasks(seconds).filter(pk=task_pk).first()
        if job is None or task is None:
            return False
        if task.deadline is not None and task.deadline <= database_now():
            reason, error = Reason.TIMED_OUT, "The task exceeded its time limit."
        else:
            worker = f"Worker {task.worker}" if task.worker else "The worker"
            reason = Reason.WORKER_LOST
            error = f"{worker} was lost: no heartbeat for {job_settings.WORKER_TIMEOUT:g} s."
        fail_lost_task(job, task, reason, error)
    logger.warning("task_lost", extra={"job_id": job_id, "reason": reason, "worker": task.worker})
    return True


def _expire_deadline(job_id: str) -> bool:
    with atomic():
        job = _lock(job_id)
        if job is None or job.deadline_at is None or job.deadline_at > database_now():
            return False
        status = job.deadline_status
        if job.is_terminal or _has_heartbeats(job):
            job.clear_deadline()
            job.save_deadline()
            return False
        try:
            if status == Status.COMPLETED:
                services.job_complete(job_id=job_id, attempt=job.attempt)
            elif not _fail_late(job):
                return False
        except InvalidTransition:
            logger.info("job_deadline_obsolete", extra={"job_id": job_id})
            return False
    logger.info("job_deadline_expired", extra={"job_id": job_id, "status": status})
    return True


def _has_heartbeats(job: Job) -> bool:
    """Return whether a worker with heartbeats has a task of the job."""
    return job.current_tasks.filter(state__in=Task.ACTIVE, heartbeat_at__isnull=False).exists()


def _fail_late(job: Job) -> bool:
    """Fail a job that was not started or not finished in time; return False if it awaits input."""
    in_process = Q(state__in=Task.ACTIVE, heartbeat_at=None)
    is_started = job.status == Status.RUNNING
    if is_started and (
        job.current_tasks.filter(in_process).exists() or not job.current_tasks.exists()
    ):
        if job.inputs.filter(attempt=job.attempt, answered_at=None).exists():
            job.set_run_deadline()  # an answer may take any time
            job.save_deadline()
            return False
        reason = Reason.RUN_TIMEOUT
        error = "The job did not finish within RUN_TIMEOUT; its worker sends no heartbeats."
    else:
        reason = Reason.QUEUE_TIMEOUT
        error = f"No worker claimed the job for {job_settings.QUEUE_TIMEOUT:g} s."
    services.job_fail(job_id=job.job_id, attempt=job.attempt, error=error, reason=reason)
    return True


def _lock(job_id: str) -> Job | None:
    """Lock a job; return None if it does not exist or another transaction has locked it."""
    try:
        return transitions.lock_job(job_id, wait=False)
    except JobNotFound:
        return None
