"""The findings of an examination as text and as JSON."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Final

from events.doctor.findings import Finding, FindingState

_NAME_WIDTH: Final = 22
_STATE_WIDTH: Final = 9


def findings_json(findings: Sequence[Finding]) -> str:
    """The findings as JSON, in the order of the checks."""
    rows = [
        {
            "name": finding.name,
            "state": finding.state,
            "seen": finding.seen,
            "action": finding.action,
            "runbook": finding.runbook,
        }
        for finding in findings
    ]
    counts = _counts(findings)
    data = {"healthy": not counts[FindingState.ERROR], "counts": counts, "findings": rows}
    return json.dumps(data, indent=2)


def findings_text(findings: Sequence[Finding]) -> str:
    """The number of findings in each state, then the findings, the worst first."""
    ordered = sorted(findings, key=lambda finding: finding.severity)
    return "\n".join([_summary(findings), "", *map(_lines, ordered)])


def _counts(findings: Sequence[Finding]) -> dict[FindingState, int]:
    found = Counter(finding.state for finding in findings)
    return {state: found[state] for state in FindingState}


def _summary(findings: Sequence[Finding]) -> str:
    counts = _counts(findings)
    return ", ".join(f"{state}: {count}" for state, count in counts.items())


def _lines(finding: Finding) -> str:
    is_bad = finding.state in (FindingState.ERROR, FindingState.WARNING)
    state = finding.state.upper() if is_bad else finding.state
    line = f"{state:<{_STATE_WIDTH}}{finding.name:<{_NAME_WIDTH}}{finding.seen}"
    if not is_bad:
        return line
    return f"{line}\n{' ' * _STATE_WIDTH}{finding.action} See {finding.runbook}"
