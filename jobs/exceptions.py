"""Exceptions of jobs/.

::

    JobError
    ├── JobNotFound (also a LookupError)
    ├── JobExists
    │   └── AlreadyCreated
    ├── InvalidJob, InvalidTransition, StaleAttempt, InputNotFound, AlreadyAnswered
    ├── RunnerNotFound, InvalidTicket, BadMessage, TooOften
    └── DeliveryFailed
        └── ReceiverGone
"""

from typing import TYPE_CHECKING

from events.error_text import ErrorText

if TYPE_CHECKING:
    from jobs.models import Job


class JobError(Exception):
    """An operation on a job failed."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or ErrorText(type(self).__doc__ or ""))


class JobNotFound(JobError, LookupError):
    """There is no such job, or the user may not see it."""


class JobExists(JobError):
    """The job_id of a new job is not available."""


class AlreadyCreated(JobExists):
    """An earlier request with this idempotency key created `job`."""

    def __init__(self, job: "Job") -> None:
        super().__init__(
            ErrorText(
                "An earlier request with this idempotency key created job %(job_id)s.",
                job_id=job.job_id,
            )
        )
        self.job = job


class InvalidJob(JobError):
    """A field has a value that is not allowed; `field` is its name in the REST API."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class InvalidTransition(JobError):
    """The status of the job does not allow this transition."""


class StaleAttempt(JobError):
    """The job is at a later attempt; this one is fenced."""


class InputNotFound(JobError):
    """The job has no such input request."""


class AlreadyAnswered(JobError):
    """The input request has been answered already."""


class RunnerNotFound(JobError):
    """An entry of RUNNERS is malformed, or a name in it cannot be imported."""


class InvalidTicket(JobError):
    """The ticket is not valid for this job, expired or revoked. Request a new one."""


class BadMessage(JobError):
    """A client message is not allowed on this socket."""


class TooOften(JobError):
    """The user has exceeded a rate limit; `seconds` is the time until the next attempt."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            ErrorText("Rate limit exceeded. Retry in %(seconds).0f seconds.", seconds=seconds)
        )
        self.seconds = seconds


class DeliveryFailed(JobError):
    """An alert message could not be delivered to a channel."""


class ReceiverGone(DeliveryFailed):
    """The receiver accepts no messages any more; it is not called again with this one."""
