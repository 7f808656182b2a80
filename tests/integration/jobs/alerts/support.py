"""A clock and evaluations at its time, and a kind whose subjects the test chooses."""

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from jobs.alerts import conditions, evaluator
from jobs.alerts.conditions import Occurrence
from jobs.alerts.evaluator import CHECKPOINT, Evaluator
from jobs.models import Alert, AlertMessage, MonitorCheckpoint

FAKE_KIND = "redis_memory"


class Stage:
    """Evaluates rules at the time `now`; `subjects` are those of rules of FAKE_KIND."""

    def __init__(self, monkeypatch: Any, settings: Any) -> None:
        self.now: datetime = timezone.now()
        self.subjects: dict[str, float | None] = {}
        self.error: Exception | None = None
        self._settings = settings
        monkeypatch.setattr(evaluator, "database_now", lambda: self.now)
        kinds = {**conditions._CONDITIONS, FAKE_KIND: self._occurrences}
        monkeypatch.setattr(conditions, "_CONDITIONS", kinds)

    def _occurrences(self, rule: Any, _observation: Any) -> Any:
        for subject, value in self.subjects.items():
            yield Occurrence(subject, f"{subject} is {value}", value)
        if self.error:
            raise self.error

    def configure(self, **values: Any) -> None:
        self._settings.JOB_EVENTS = {**self._settings.JOB_EVENTS, **values}

    def rule(self, name: str = "fake", **entry: Any) -> None:
        """Use this rule only."""
        self.configure(ALERT_RULES={name: {"kind": FAKE_KIND, **entry}})

    def evaluate(self, after: float = 0.0) -> int:
        """Evaluate all rules some seconds later, whenever the last evaluation was."""
        self.now += timedelta(seconds=after)
        rows = MonitorCheckpoint.objects.filter(name=CHECKPOINT)
        rows.update(at=self.now - timedelta(days=1))
        return self.step()

    def step(self) -> int:
        """Evaluate the rules that are due at the time `now`."""
        return Evaluator().step()


def states() -> dict[str, str]:
    """Return the states of the latest alerts by subject."""
    return dict(Alert.objects.order_by("pk").values_list("subject", "state"))


def messages() -> list[tuple[str, str, int]]:
    """Return rule, state and count of the messages."""
    return list(AlertMessage.objects.order_by("created_at").values_list("rule", "state", "count"))
