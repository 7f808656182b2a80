"""What can go wrong with a job, as one tree.

::

    JobError
    ├── JobNotFound          (also a LookupError)
    ├── JobExists
    │   └── AlreadyCreated
    ├── InvalidJob
    ├── InvalidTransition
    ├── StaleAttempt
    ├── InputNotFound
    ├── AlreadyAnswered
    ├── RunnerNotFound
    └── InvalidTicket
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs.models import Job


class JobError(Exception):
    """The job could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class JobNotFound(JobError, LookupError):
    """There is no such job."""


class JobExists(JobError):
    """There is a job with this job_id already."""


class AlreadyCreated(JobExists):
    """This request has come before; `job` is what it created."""

    def __init__(self, job: "Job") -> None:
        super().__init__(f"This request has created the job {job.job_id}.")
        self.job = job


class InvalidJob(JobError):
    """A field of the job has a value that is not allowed.

    `field` names it, as a REST client knows it.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class InvalidTransition(JobError):
    """The job's status does not allow this."""


class StaleAttempt(JobError):
    """The job is at a later attempt: whoever works on this one has been given up."""


class InputNotFound(JobError):
    """The job does not ask for this."""


class AlreadyAnswered(JobError):
    """Somebody has answered before."""


class RunnerNotFound(JobError):
    """An entry of RUNNERS is malformed, or a name in it cannot be imported."""


class InvalidTicket(JobError):
    """A ticket that nobody made, or for another job, or too late."""
