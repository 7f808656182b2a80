"""Finding: the result of a check, with a link to its heading in the runbook."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from events.processor.problems import runbook_link


class FindingState(StrEnum):
    """How bad a finding is; only an error makes the command fail."""

    ERROR = "error"
    WARNING = "warning"
    SKIPPED = "skipped"
    OK = "ok"


_ORDER = tuple(FindingState)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has seen; `action` is empty for the default of the check, and if all is well."""

    state: FindingState
    seen: str
    action: str = ""
    name: str = ""

    @property
    def runbook(self) -> str:
        """The heading of the runbook that has the name of the check."""
        return runbook_link(self.name)

    @property
    def severity(self) -> int:
        """The position in a report, the worst first."""
        return _ORDER.index(self.state)


def ok(seen: str) -> Finding:
    """Nothing is wrong."""
    return Finding(FindingState.OK, seen)


def warning(seen: str, action: str = "") -> Finding:
    """Works, but not at any time, or not as well as it should."""
    return Finding(FindingState.WARNING, seen, action)


def error(seen: str, action: str = "") -> Finding:
    """Does not work, or loses data."""
    return Finding(FindingState.ERROR, seen, action)


def skipped(reason: str) -> Finding:
    """Not checked."""
    return Finding(FindingState.SKIPPED, reason)


def worst(findings: Iterable[Finding]) -> Finding:
    """Return the first of the worst findings."""
    return min(findings, key=lambda finding: finding.severity)
