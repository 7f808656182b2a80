"""Registry of projections: rows that follow the logs, updated in the archiver's transaction.

`events` has no knowledge of jobs. The app that owns the rows registers a projection in its
`AppConfig.ready`, and the archiver calls it for every batch that it archives.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
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


class ProjectionRegistry:
    """The projections of this process, in the order of their registration."""

    def __init__(self) -> None:
        self._projections: list[Projection] = []

    def register(self, projection: Projection) -> None:
        """Call `projection` for every archived batch."""
        self._projections.append(projection)

    def unregister(self, projection: Projection) -> None:
        """Undo `register`; raise ValueError for a projection that is not registered."""
        self._projections.remove(projection)

    def __iter__(self) -> Iterator[Projection]:
        return iter(self._projections)


projections: Final = ProjectionRegistry()
