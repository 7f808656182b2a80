"""The names of Redis keys; nowhere else are they spelled."""

from dataclasses import dataclass
from typing import Final

from events.types import check_job_id

DEFAULT_PREFIX: Final = "job_events:"


@dataclass(frozen=True, slots=True)
class StreamKeys:
    """The keys of the jobs' streams under one prefix."""

    prefix: str = DEFAULT_PREFIX

    def stream(self, job_id: str) -> str:
        """The key of the job's stream; raise InvalidJobId if there can be no such job."""
        return self.prefix + check_job_id(job_id)
