"""What the log asks of the app whose jobs its logs are of.

The log knows nothing of jobs; an app that does adds an owner to `EventsConfig.owners` when it is
ready, and the archiver tells it what it copies.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, cast

from django.apps import apps

from events.types import Event


class Projection(Protocol):
    """The app whose rows follow the logs."""

    def lock(self, events: Mapping[str, Sequence[Event]]) -> Collection[str]:
        """Lock what `apply` will write for these events, by job_id, without waiting.

        Called in the archiver's transaction. Returns the jobs of which somebody else holds
        the lock; their logs are left for the next round.
        """

    def apply(self, events: Mapping[str, Sequence[Event]]) -> None:
        """Let the rows follow these events, by job_id, in the order of the log.

        Called in the archiver's transaction, with each event once. What it raises stalls the
        log in question, and is reported.
        """

    def finished(self, job_ids: Collection[str]) -> Collection[str]:
        """Those of these jobs that are over: their streams may expire once they are archived."""


def owners() -> Sequence[Projection]:
    """The owners of the logs; most projects have one, `jobs`."""
    return cast(Sequence[Projection], apps.get_app_config("job_events").owners)  # type: ignore[attr-defined]
