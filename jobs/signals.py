"""Signals, sent after the commit with `send_robust`: exceptions of receivers are logged.

Services send them in the process that calls the service; for events of workers without a database,
`manage.py process_events` sends them when it updates the row of the job.
"""

from functools import partial
from typing import Any

from django.db.models import Model
from django.dispatch import Signal

from events.database import on_commit

job_created = Signal()
"""Arguments: `job`."""

job_status_changed = Signal()
"""Arguments: `job`, `old_status`, `new_status`."""

job_progressed = Signal()
"""Arguments: `job`."""

job_deleted = Signal()
"""Arguments: `job`, whose row is gone, and `by`, the user who called `services.job_delete`."""

alert_changed = Signal()
"""Arguments: `message`, an `AlertMessage`, and `message_id`, the same in each repetition.

`manage.py process_events` sends it again, to all receivers, if one of them raises an exception.
"""


def send_on_commit(signal: Signal, job: Model, **arguments: Any) -> None:
    """Send a signal when the transaction commits."""
    send = partial(signal.send_robust, sender=type(job), job=job, **arguments)
    on_commit(send)
