"""Signals for third parties; all are sent after the commit, and their errors logged, not raised.

Services send them where they are called; what a worker without a database says of a job, where
`manage.py process_events` lets the row follow the log.

A receiver that wants to say something in the job's log publishes through the sync publisher:
`events.publisher.get_publisher().publish_event(job.job_id, {…})`.
"""

from django.dispatch import Signal

job_created = Signal()
"""Sent with `job`."""

job_status_changed = Signal()
"""Sent with `job`, `old_status` and `new_status`."""

job_progressed = Signal()
"""Sent with `job`."""
