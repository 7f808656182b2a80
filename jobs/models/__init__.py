"""Models of the app.

job             jobs, their attempts and tasks
input_request   questions of jobs to users
ticket          authorizations to watch a job

Imports `events` and `jobs.conf`; everything else in `jobs` may import it.
"""

from jobs.models.input_request import InputRequest
from jobs.models.job import Attempt, Job, Task, new_job_id
from jobs.models.ticket import Ticket

__all__ = ["Attempt", "InputRequest", "Job", "Task", "Ticket", "new_job_id"]
