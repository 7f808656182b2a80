"""Registry of projections: rows that follow the logs, updated in the archiver's transaction.

The app that owns the rows appends its projection to `projections` in `AppConfig.ready`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Protocol

from events.types import Event


class Projection(Protocol):
    """Updates rows from the events of a log."""

    def lock(self, events: Mapping[str, Sequence[Event]]) -> Collection[str]:
        """Lock the rows that `apply` writes for these events, by job_id, without waiting.

        Called in the archiver's transaction. Returns the jobs whose rows another transaction has
        locked; the archiver leaves their logs for its next step.
        """

    def apply(self, events: Mapping[str, Sequence[Event]]) -> None:
        """Update the rows from these events, by job_id, in log order.

        Called in the archiver's transaction, once for each event. An exception stalls the log
        and is recorded in its archive checkpoint.
        """

    def completed_jobs(self, job_ids: Collection[str]) -> Collection[str]:
        """Return which of these jobs are over: their archived streams may expire."""


projections: Final[list[Projection]] = []
