"""Conditions of alert rules: the queries of each kind, and for which subjects the condition holds.

Summaries have no texts of users, such as titles and errors of jobs: they leave the project.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final, NamedTuple

from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from events.conf import DAY_SECONDS
from events.exceptions import RedisUnavailable
from events.execution.run import Reason
from events.processor import get_status
from events.processor.status import LogStatus, redis_memory
from jobs.alerts.rules import REPORTED_CODES, AlertDefinition
from jobs.conf import job_settings
from jobs.execution.claims import silent_tasks
from jobs.models import AlertMatch, Attempt, Job, Sample, Task
from jobs.monitoring.figures import size, sum_of
from jobs.monitoring.histogram import count_of, quantile
from jobs.monitoring.tables import running_jobs, silent_jobs

# Of more subjects, the first ones have alerts.
MAX_SUBJECTS: Final = 1000
_HOUR_SECONDS: Final = 3600
_MINUTE_SECONDS: Final = 60
_TEN_MINUTES_SECONDS: Final = 600
_SLOW_DAYS: Final = 7
_P95: Final = 0.95

Status = Job.Status


class Occurrence(NamedTuple):
    """A subject for which a condition holds; `summary` is a sentence for the operator."""

    subject: str
    summary: str
    value: float | None = None


@dataclass
class Observation:
    """The time of an evaluation, and what its rules share."""

    now: datetime

    @cached_property
    def status(self) -> LogStatus:
        return get_status()

    def ago(self, seconds: float) -> datetime:
        return self.now - timedelta(seconds=seconds)


def occurrences(rule: AlertDefinition, observation: Observation) -> Iterator[Occurrence]:
    """Yield the subjects of a valid rule, at most a few more than MAX_SUBJECTS.

    Raises any error, also after some subjects; django.db.Error.
    """
    if rule.is_matched:
        return _matched(rule, observation)
    return _CONDITIONS[rule.kind](rule, observation)


def interval(rule: AlertDefinition) -> float:
    """Return the seconds between two evaluations of a rule; 0 for each."""
    if rule.error or rule.is_matched:
        return 0
    if rule.kind == "failure_rate":
        return float(rule["window"] / _MINUTE_SECONDS)
    return _INTERVALS.get(rule.kind, 0)


def _problems(rule: AlertDefinition, observation: Observation) -> Iterator[Occurrence]:
    found: dict[str, list[str]] = {}
    for problem in observation.status.problems:
        if problem.code in (rule["codes"] or REPORTED_CODES) and problem.code in REPORTED_CODES:
            found.setdefault(problem.code, []).append(f"{problem.description} {problem.advice}")
    for code, texts in found.items():
        yield Occurrence(code, " ".join(texts))


def _failure_rates(rule: AlertDefinition, observation: Observation) -> Iterator[Occurrence]:
    ended = Attempt.objects.filter(finished_at__gte=observation.ago(rule["window"])).order_by()
    if rule.task_type:
        ended = ended.filter(job__task_type=rule.task_type)
    counts = ended.values_list("job__task_type").annotate(
        ended=Count("pk"), failed=Count("pk", filter=Q(status=Status.FAILED))
    )
    text = _("%(failed)d of %(ended)d attempts of %(task_type)s failed within %(seconds)g s.")
    for task_type, number, failed in counts.filter(ended__gte=rule["min_count"]):
        if failed >= rule["threshold"] * number:
            names = {"failed": failed, "ended": number, "task_type": task_type}
            yield Occurrence(
                task_type, text % {**names, "seconds": rule["window"]}, failed / number
            )


def _jobs(rule: AlertDefinition) -> QuerySet[Job]:
    jobs = Job.objects.all()
    return jobs.filter(task_type=rule.task_type) if rule.task_type else jobs


def _stuck_jobs(rule: AlertDefinition, observation: Observation) -> Iterator[Occurrence]:
    seconds = rule["seconds"] or job_settings.STUCK_SECONDS
    before = observation.ago(seconds)
    beats = Task.objects.filter(job=OuterRef("pk"), state__in=Task.ACTIVE, heartbeat_at__gte=before)
    jobs = silent_jobs(_jobs(rule), before).filter(~Exists(beats))
    text = _("Job %(job_id)s (%(task_type)s) has had no event and no heartbeat for %(seconds)g s.")
    return _of_jobs(jobs, text, seconds)


def _without_event(rule: AlertDefinition, observation: Observation) -> Iterator[Occurrence]:
    before = observation.ago(rule["seconds"])
    text = _("Job %(job_id)s (%(task_type)s) has had no event of its work for %(seconds)g s.")
    pending = _jobs(rule).filter(status=Status.PENDING).order_by("created_at", "id")
    for jobs in (running_jobs(_jobs(rule)), pending):
        late = jobs.filter(first_event_at=None, created_at__lt=before)
        yield from _of_jobs(late, text, rule["seconds"])


def _of_jobs(jobs: QuerySet[Job], text: str, seconds: float) -> Iterator[Occurrence]:
    for job_id, task_type in jobs.values_list("job_id", "task_type")[: MAX_SUBJECTS + 1]:
        names = {"job_id": job_id, "task_type": task_type, "seconds": seconds}
        yield Occurrence(job_id, text % names, seconds)


def _slow_jobs(rule: AlertDefinition, observation: Observation) -> Iterator[Occurrence]:
    limits = dict(_slow_after(rule, observation))
    if not limits:
        return
    slow = Q()
    for task_type, seconds in limits.items():
        slow |= Q(task_type=task_type, started_at__lt=observation.ago(seconds))
    columns = ("job_id", "task_type", "started_at")
    text = _(
        "Job %(job_id)s (%(task_type)s) has been running for %(seconds).0f s, longer than"
        " %(limit).0f s."
    )
    for job_id, task_type, started_at in (
        running_jobs(_jobs(rule)).filter(slow).values_list(*columns)[: MAX_SUBJECTS + 1]
    ):
        seconds = (observation.now - started_at).total_seconds()
        names = {"job_id": job_id, "task_type": task_type, "limit": limits[task_type]}
        yield Occurrence(job_id, text % {**names, "seconds": seconds}, seconds)


def _slow_after(rule: AlertDefinition, observation: Observation) -> Iterator[tuple[str, float]]:
    """Yield the task types with enough attempts, and the seconds after which a job is slow."""
    durations = _samples("duration", _HOUR_SECONDS, observation.ago(_SLOW_DAYS * DAY_SECONDS))
    for task_type, histogram in durations.items():
        p95 = quantile(histogram, _P95)
        if rule.task_type in ("", task_type) and p95 and count_of(histogram) >= rule["min_count"]:
            yield task_type, rule["factor"] * p95


def _samples(name: str, period_seconds: int, since: datetime) -> Mapping[str, Any]:
    """Return the sum of a figure by task_type."""
    rows = Sample.objects.filter(name=name, seconds=period_seconds, at__gte=since)
    return sum_of(rows.values_list("value", flat=True))


def _missing_heartbeats(rule: AlertDefinition, observation: Observation) -> Iterator[Occurrence]:
    seconds = rule["seconds"] or job_settings.WORKER_TIMEOUT / 2
    text = _("The worker %(worker)s of job %(job_id)s has sent no heartbeat for %(seconds)g s.")
    silent = silent_tasks(seconds).order_by("heartbeat_at")
    if rule.task_type:
        silent = silent.filter(job__task_type=rule.task_type)
    for job_id, worker in silent.values_list("job__job_id", "worker")[: MAX_SUBJECTS + 1]:
        names = {"job_id": job_id, "worker": worker, "seconds": seconds}
        yield Occurrence(job_id, text % names, seconds)
    lost = Attempt.objects.filter(
        finished_at__gte=observation.ago(rule["window"]), reason=Reason.WORKER_LOST
    )
    if rule.task_type:
        lost = lost.filter(job__task_type=rule.task_type)
    text = _("Job %(job_id)s has lost its worker.")
    ordered = lost.order_by("finished_at").values_list("job__job_id", flat=True)
    for job_id in ordered[: MAX_SUBJECTS + 1]:
        yield Occurrence(job_id, text % {"job_id": job_id})


def _lags(rule: AlertDefinition, observation: Observation) -> Iterator[Occurrence]:
    status = observation.status
    text = _("The oldest event of the outbox is %(age).0f s old.")
    yield from _lag("outbox", text, status.outbox.oldest_age, rule["seconds"])
    if status.archive.error:
        raise RedisUnavailable(status.archive.error)
    text = _("The oldest event that is not archived is %(age).0f s old.")
    yield from _lag("archive", text, status.archive.oldest_age, rule["seconds"])


def _lag(subject: str, text: str, age: float | None, limit: float) -> Iterator[Occurrence]:
    if age is not None and age > limit:
        yield Occurrence(subject, text % {"age": age}, age)


def _memory(rule: AlertDefinition, _observation: Observation) -> Iterator[Occurrence]:
    redis = redis_memory()
    if redis.error:
        raise RedisUnavailable(redis.error)
    if redis.limit and redis.used > rule["share"] * redis.limit:
        share = redis.used / redis.limit
        text = _("Redis uses %(percent).0f %% of its memory.") % {"percent": share * 100}
        yield Occurrence("redis", text, share)


def _usage(rule: AlertDefinition, observation: Observation) -> Iterator[Occurrence]:
    """Compare the usage of a window with the limit: of a task type, or of all."""
    window = rule["per"]
    period = _MINUTE_SECONDS if window <= _HOUR_SECONDS else _TEN_MINUTES_SECONDS
    period = _HOUR_SECONDS if window > DAY_SECONDS else period
    used = _samples(rule.kind, period, observation.ago(window))
    value = size(used.get(rule.task_type, 0) if rule.task_type else used)
    if value > rule["limit"]:
        unit = _("tokens") if rule.kind == "tokens" else job_settings.CURRENCY
        text = _("%(value).2f %(unit)s were used within %(seconds)g s; the limit is %(limit)g.")
        names = {"value": value, "unit": unit, "seconds": window, "limit": rule["limit"]}
        yield Occurrence(rule.task_type, text % names, value)


def _matched(rule: AlertDefinition, observation: Observation) -> Iterator[Occurrence]:
    """Return the jobs that the projection has recorded within the window of the rule."""
    recent = AlertMatch.objects.filter(
        rule=rule.name, at__gte=observation.ago(match_seconds(rule))
    ).order_by("id")
    columns = ("job_id", "summary", "value")
    yield from map(Occurrence._make, recent.values_list(*columns)[: MAX_SUBJECTS + 1])


def match_seconds(rule: AlertDefinition) -> float:
    """Return the seconds after the last match at which an alert of a job resolves."""
    return float(rule["window"]) if rule.kind == "event" else _HOUR_SECONDS


_CONDITIONS: Final[Mapping[str, Callable[[AlertDefinition, Observation], Iterator[Occurrence]]]] = {
    "problem": _problems,
    "failure_rate": _failure_rates,
    "stuck_job": _stuck_jobs,
    "no_first_event": _without_event,
    "slow_job": _slow_jobs,
    "missing_heartbeat": _missing_heartbeats,
    "lag": _lags,
    "redis_memory": _memory,
    "tokens": _usage,
    "cost": _usage,
}
_INTERVALS: Final[Mapping[str, float]] = {
    "problem": 15,
    "lag": 15,
    "redis_memory": 15,
    "stuck_job": 15,
    "no_first_event": 15,
    "slow_job": _MINUTE_SECONDS,
    "tokens": _MINUTE_SECONDS,
    "cost": _MINUTE_SECONDS,
}
