"""Checks of processing: the problems of the status that concern neither Redis nor the database."""

from collections.abc import Callable
from functools import partial
from typing import Final

from events.doctor.checks import TABLES, Check, Examination
from events.doctor.findings import Finding, error, ok
from events.processor.report import archive_text, outbox_text, problem_line
from events.processor.status import LogStatus


def find_problem(
    code: str, figure: Callable[[LogStatus], str], examination: Examination
) -> Finding:
    """Return an error for a problem of the status; without it, what the status has."""
    status = examination.status
    for problem in status.problems:
        if problem.code == code:
            line = problem_line(problem, status.at)
            return error(line.removesuffix(problem.action), problem.action)
    return ok(f"{figure(status)}.")


def _processors(status: LogStatus) -> str:
    alive = [each.name for each in status.processors if each.alive]
    return f"Running: {', '.join(alive)}"


def _failures(status: LogStatus) -> str:
    failures = sum(
        loop["failures"] for each in status.processors for loop in each.loops.values() if each.alive
    )
    return f"Failures since the start: {failures}"


# What the status has, by the code of the problem.
_FIGURES: Final[dict[str, Callable[[LogStatus], str]]] = {
    "processors": _processors,
    "processor-loops": _failures,
    "outbox-lag": lambda status: outbox_text(status.outbox),
    "archive-lag": lambda status: archive_text(status.archive),
    "stalled-logs": lambda status: f"Stalled: {status.stalled_count}",
    "lost-events": lambda status: f"Gaps in 24 hours: {status.loss_count}",
}
# Without a processor, these have no problem of their own.
_DELAYS: Final = ("processor-loops", "outbox-lag", "archive-lag")
_ACTION: Final = "Run `manage.py process_events --status`."

CHECKS: Final = tuple(
    Check(
        code,
        partial(find_problem, code, figure),
        _ACTION,
        ("redis-connection", "processors") if code in _DELAYS else TABLES,
    )
    for code, figure in _FIGURES.items()
)
