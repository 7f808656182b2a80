"""The names of Redis keys; nowhere else are they spelled."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from events.types import check_job_id

DEFAULT_PREFIX: Final = "job_events:"


@dataclass(frozen=True, slots=True)
class StreamKeys:
    """The keys of the jobs' streams under one prefix."""

    prefix: str = DEFAULT_PREFIX

    def stream(self, job_id: str) -> str:
        """The key of the job's stream; raise InvalidJobId if there can be no such job."""
        try:
            return _key(self.prefix, job_id)
        except TypeError:  # what cannot be hashed is no job_id either
            return check_job_id(job_id)


@lru_cache(maxsize=1024)
def _key(prefix: str, job_id: str) -> str:
    """Publishers ask for the same few keys again and again."""
    return prefix + check_job_id(job_id)
