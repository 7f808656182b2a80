"""Completion of jobs: decides when a subscriber receives `End`. Does no I/O."""

from collections.abc import Collection, Mapping
from typing import Protocol

from events.types import Event


class Completion(Protocol):
    """Decides when a job is finished; without one, a log never ends."""

    def is_terminal(self, event: Event) -> bool:
        """Whether the event may be the last of its job. Called for each event; does no I/O."""

    async def completed(self, last: Mapping[str, Event | None]) -> Collection[str]:
        """Return the job_ids of the finished jobs among those of `last`.

        `last` maps each job_id to the last event of its log, None if the log is empty. Called after
        a terminal event, and every few seconds for logs without new events.
        """
