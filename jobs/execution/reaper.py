"""The reaper: ends the jobs whose worker is dead, or never came.

A worker says every few seconds, in the row of its task, that it lives. Whose row is silent for
WORKER_TIMEOUT is taken for dead, and its job fails. All times are the database's, so that no clock
of a worker matters. After the database was away, or the reaper itself, workers could not say
anything, or were not heard: then everybody has WORKER_TIMEOUT once more.

A job that somebody else has locked is left for the next look: whoever has it may be paused, or lost
with its node, and others are not to wait for that.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Final

from django.db import InterfaceError, OperationalError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from events.execution.run import Reason
from jobs import services, transitions
from jobs.conf import job_settings
from jobs.exceptions import InvalidTransition, JobNotFound
from jobs.execution.claims import silent_tasks
from jobs.execution.tracker import lose_task
from jobs.models import Job, Task

logger = logging.getLogger(__name__)

Status = Job.Status

_AT_ONCE: Final = 100
_LOOK_SECONDS: Final = 0.5
_LONGEST_SECONDS: Final = 1.0
_AWAY_SECONDS: Final = 5.0
_PUT_OFF_SECONDS: Final = 60.0


class Reaper:
    """Looks now and then; several may run.

    One that is `single_pass` looks once, and believes what it sees: for `process_events --once`.
    """

    def __init__(self, *, single_pass: bool = False) -> None:
        self._hasty = single_pass
        self._looked_at = self._listens_since = float("-inf")
        self._heard_at: datetime | None = None
        self._put_off: dict[str, float] = {}

    def step(self) -> int:
        """End what is to be ended; returns how many jobs. Raises django.db.Error."""
        now = monotonic()
        if now < self._looked_at + _LOOK_SECONDS and not self._hasty:
            return 0
        ended = self._bury() + self._settle_due()
        self._looked_at = monotonic()
        return ended

    def _bury(self) -> int:
        # What is left for the looking itself: the job is to be over within the time of the setting.
        seconds = job_settings.WORKER_TIMEOUT - 2 * _LOOK_SECONDS
        silent = silent_tasks(seconds).order_by("heartbeat_at").values_list("job__job_id", "pk")
        found = list(silent[:_AT_ONCE])
        # Asked after the tasks: their query may have been answered only when the database was back.
        if not self._has_listened(seconds) and not self._hasty:
            return 0
        return self._end((job_id, partial(_is_buried, job_id, pk, seconds)) for job_id, pk in found)

    def _settle_due(self) -> int:
        due = Job.objects.filter(deadline_at__lte=timezone.now()).order_by("deadline_at")
        found = due.values_list("job_id", flat=True)[:_AT_ONCE]
        return self._end((job_id, partial(_is_settled, job_id)) for job_id in found)

    def _end(self, jobs: Iterable[tuple[str, Callable[[], bool]]]) -> int:
        """End jobs; returns how many. When it takes long, the rest is left for the next look.

        One that cannot be ended, as a receiver of the project's raises, holds up no other.
        """
        count, until = 0, monotonic() + _LONGEST_SECONDS
        for job_id, is_ended in jobs:
            if monotonic() < self._put_off.get(job_id, 0.0):
                continue
            try:
                count += is_ended()
            except (OperationalError, InterfaceError):
                raise
            except Exception:
                self._put_off[job_id] = monotonic() + _PUT_OFF_SECONDS
                logger.exception("job_not_ended", extra={"job_id": job_id})
            if monotonic() > until:
                break
        return count

    def _has_listened(self, seconds: float) -> bool:
        """Whether it has looked for so long without a break, by its own clock and the database's.

        Its own stands still while the machine sleeps.
        """
        now, before = monotonic(), self._heard_at
        self._heard_at = time = _database_time()
        away = timedelta(seconds=_AWAY_SECONDS)
        was_away = before is None or time is None or time > before + away
        if was_away or now > self._looked_at + _AWAY_SECONDS:
            self._listens_since = now
        return now >= self._listens_since + seconds


def _database_time() -> datetime | None:
    """Now, by the database; None while there are no tasks of which to ask."""
    return next(iter(Task.objects.order_by().values_list(Now(), flat=True)[:1]), None)


def _is_buried(job_id: str, task_pk: int, seconds: float) -> bool:
    """Let a job fail, unless its worker was heard of, or somebody else was faster, meanwhile."""
    with transaction.atomic():
        if (job := _free(job_id)) is None:
            return False
        task = silent_tasks(seconds).filter(pk=task_pk).first()
        if task is None:
            return False
        is_late = task.deadline is not None and task.deadline <= timezone.now()
        if is_late:
            reason, error = Reason.TIMED_OUT, "The task was ended by its time limit."
        else:
            worker = f"Worker {task.worker}" if task.worker else "The worker"
            reason = Reason.WORKER_LOST
            error = f"{worker} was lost: it was not heard of for {job_settings.WORKER_TIMEOUT:g} s."
        lose_task(job, task, reason, error)
    logger.warning("task_lost", extra={"job_id": job_id, "reason": reason, "worker": task.worker})
    return True


def _is_settled(job_id: str) -> bool:
    with transaction.atomic():
        job = _free(job_id)
        if job is None or job.deadline_at is None or job.deadline_at > timezone.now():
            return False
        status = job.deadline_status
        if job.is_terminal or job.tasks.filter(state__in=Task.ACTIVE).exists():
            job.clear_deadline()
            job.save_deadline()
            return False
        try:
            _settle(job, status)
        except InvalidTransition:
            logger.info("job_settled_late", extra={"job_id": job_id})
            return False
    logger.info("job_settled", extra={"job_id": job_id, "status": status})
    return True


def _settle(job: Job, status: str) -> None:
    if status == Status.COMPLETED:
        services.job_complete(job_id=job.job_id, attempt=job.attempt)
        return
    error = f"No worker took the job up for {job_settings.QUEUE_TIMEOUT:g} s."
    reason = Reason.QUEUE_TIMEOUT
    services.job_fail(job_id=job.job_id, attempt=job.attempt, error=error, reason=reason)


def _free(job_id: str) -> Job | None:
    try:
        return transitions.lock_job(job_id, wait=False)
    except JobNotFound:
        return None
