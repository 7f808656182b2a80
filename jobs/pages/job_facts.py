"""Facts of a job as the server renders them, for the first paint and for pages without scripts."""

import json
from datetime import datetime
from typing import Any, Final

from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from events.database import aware_time
from events.durations import span_text
from jobs.conf import job_settings
from jobs.models import Attempt, Job
from jobs.pages.job_strings import reason_texts

NO_VALUE: Final = "\N{EN DASH}"
_WAITING: Final = "waiting"
_ERROR_CHARACTERS: Final = 600
_JSON_CHARACTERS: Final = 20_000


def head(job: Job, *, is_waiting: bool) -> dict[str, Any]:
    """Return status, phase and progress. A job that was stopped keeps its phase."""
    percent = round(job.progress)
    percent_text = _("{percent}%").replace("{percent}", str(percent))
    is_stopped = job.status in (Job.Status.FAILED, Job.Status.CANCELLED)
    place = ", ".join([job.phase] * bool(job.phase) + [percent_text] * bool(percent))
    phase = "" if job.status == Job.Status.COMPLETED else job.phase
    if is_stopped:
        phase = _("Stopped at {place}").replace("{place}", place) if place else ""
    return {
        "percent": percent,
        "phase_text": phase,
        "percent_text": percent_text if job.status == Job.Status.RUNNING else "",
        "shown_status": _WAITING if is_waiting else job.status,
        "status_label": _("Waiting for input") if is_waiting else job.get_status_display(),
        "started_at": job.started_at and aware_time(job.started_at),
    }


def facts(job: Job, data: dict[str, Any], attempts: list[Attempt]) -> dict[str, Any]:
    """Return the facts that the database contains, as text."""
    calls, *tokens = (
        sum(counts[key] for counts in job.usage.values())
        for key in ("calls", "input_tokens", "output_tokens")
    )
    known = f"{number_format(tokens[0])} / {number_format(tokens[1])}"
    unknown = _("not reported") if calls else NO_VALUE
    cost = "" if data["cost"] is None else f"{data['cost']:.4f} {job_settings.CURRENCY}"
    attempt = attempts[-1] if attempts else None
    return {
        "duration": _seconds_text(job.started_at, job.finished_at or timezone.now()),
        "queue": _seconds_text(attempt.created_at, attempt.started_at) if attempt else NO_VALUE,
        "attempt": number_format(job.attempt),
        "calls": number_format(calls),
        "tokens": known if any(tokens) else unknown,
        "cost": (cost or NO_VALUE) if job_settings.MODEL_PRICES else None,
        "worker": data["worker"],
    }


def _seconds_text(start: datetime | None, end: datetime | None) -> str:
    if start is None or end is None:
        return NO_VALUE
    return span_text((aware_time(end) - aware_time(start)).total_seconds())


def problem(job: Job, attempts: list[Attempt], place: str) -> dict[str, str] | None:
    """Return why the job failed or was cancelled; None without a known reason."""
    reason = attempts[-1].reason if attempts else ""
    sentence = reason_texts().get(reason, "")
    if job.status not in (Job.Status.FAILED, Job.Status.CANCELLED):
        return None
    if job.status == Job.Status.CANCELLED and not (job.error or sentence):
        return None
    message = job.error or sentence or _("The job failed without an error message.")
    is_long = len(message) > _ERROR_CHARACTERS
    return {
        "message": message,
        "text": f"{message[:_ERROR_CHARACTERS]}…" if is_long else message,
        "rest": message if is_long else "",
        "reason": sentence if job.error else "",
        "place": place,
    }


def json_text(value: Any) -> str:
    """Return a value for a page without scripts, shortened."""
    if value is None:
        return ""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text if len(text) <= _JSON_CHARACTERS else f"{text[:_JSON_CHARACTERS]}…"


def prompt_text(prompt: Any) -> str:
    """Return the prompt of a question as text."""
    return prompt if isinstance(prompt, str) else json_text(prompt)
