"""Models of the app.

job             jobs, their attempts and tasks
input_request   questions of jobs to users
ticket          authorizations to watch a job
sample          figures of the monitor, one row a minute each
alert           alert rules, alerts, messages about them and their deliveries

Imports `events` and `jobs.conf`; everything else in `jobs` may import it.
"""

from jobs.models.alert import (
    UNSENT,
    Alert,
    AlertDelivery,
    AlertMatch,
    AlertMessage,
    AlertRule,
    Silence,
)
from jobs.models.input_request import InputRequest
from jobs.models.job import Attempt, Job, Task, new_job_id
from jobs.models.sample import MonitorCheckpoint, Sample
from jobs.models.ticket import Ticket

__all__ = [
    "UNSENT",
    "Alert",
    "AlertDelivery",
    "AlertMatch",
    "AlertMessage",
    "AlertRule",
    "Attempt",
    "InputRequest",
    "Job",
    "MonitorCheckpoint",
    "Sample",
    "Silence",
    "Task",
    "Ticket",
    "new_job_id",
]
