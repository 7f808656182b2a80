"""Translated strings of the scripts, which the pages contain as JSON.

Placeholders are in braces. Numbers follow a colon, so that no language needs a plural form.
"""

from django.utils.translation import gettext as _

from jobs.conf import job_settings
from jobs.models import Job


def list_page_strings() -> dict[str, str]:
    """The strings of the job list."""
    return {
        "live.live": _("Live"),
        "live.paused": _("Paused"),
        "live.offline": _("Offline"),
        "live.refused": _("Logged out"),
        "announce.new": _("New jobs: {count}"),
        "ago": _("{span} ago"),
        "activity.summary": _("Jobs: {jobs}, failures: {failed}, from {since} until {until}"),
        "activity.bar": _("{time}: jobs: {jobs}, failures: {failed}"),
        "activity.unknown": _("{time}: no figures"),
        "views.delete": _("Delete the view {name}"),
        **_bulk_strings(),
    }


def _bulk_strings() -> dict[str, str]:
    return {
        "bulk.count": _("Selected: {count}"),
        "bulk.no": _("Do nothing"),
        "bulk.stop": _("Stop"),
        "bulk.close": _("Close"),
        "bulk.others": _("Selected jobs to which this does not apply: {count}."),
        "bulk.progress": _("Jobs done: {done} of {count}"),
        "bulk.result": _("Done: {done}. Refused: {refused}. Not tried: {rest}."),
        "bulk.failed": _("The server did not answer."),
        "bulk.cancel": _("Cancel the jobs"),
        "bulk.cancel.question": _("Jobs to cancel: {count}"),
        "bulk.cancel.text": _("They stop as soon as their workers notice. They can be retried."),
        "bulk.cancel.running": _("Cancelling jobs"),
        "bulk.cancel.done": _("Jobs cancelled"),
        "bulk.retry": _("Retry the jobs"),
        "bulk.retry.question": _("Jobs to retry: {count}"),
        "bulk.retry.text": _("A new attempt of each starts."),
        "bulk.retry.running": _("Retrying jobs"),
        "bulk.retry.done": _("Jobs retried"),
        "bulk.export.running": _("Exporting the events of the jobs"),
        "bulk.export.done": _("Events exported"),
    }


def monitor_page_strings() -> dict[str, str]:
    """The strings of the monitor."""
    return {
        "live.live": _("Live"),
        "live.paused": _("Paused"),
        "live.offline": _("Offline"),
        "live.refused": _("No longer available: reload the page"),
        "outage": _("The server does not answer. The figures are those of the last answer."),
        "figures.until": _("The figures end at {time}: process_events has written none since."),
        "since": _("Since {time}"),
        "ago": _("{span} ago"),
        **_health_strings(),
        **_attention_strings(),
        **_chart_strings(),
        **_table_strings(),
        **_column_strings(),
        **_row_strings(),
    }


def _health_strings() -> dict[str, str]:
    return {
        "health.processors": _("Processors"),
        "health.outbox": _("Outbox"),
        "health.outbox_age": _("Outbox"),
        "health.archive": _("Archive backlog"),
        "health.archive_age": _("Archive"),
        "health.redis": _("Redis"),
        "health.redis_memory": _("Redis memory"),
        "health.streams": _("Streams"),
        "health.database": _("Database"),
        "health.stalled_logs": _("Stalled logs"),
        "health.lost_events": _("Gaps in logs"),
        "health.alert_deliveries": _("Alert deliveries"),
        "health.connected": _("Connected"),
        "health.failing": _("Failing"),
        "health.of": _("{value} of {limit}"),
        "health.oldest": _("{value}, oldest {age}"),
        "health.least": _("at least {limit}"),
        "health.threshold": _("threshold {limit}"),
        "warning.processors": _("Of {limit} processes, {value} send heartbeats."),
        "warning.redis_memory": _(
            "{value} of {limit} are in use. From {threshold} on, streams keep nothing archived."
        ),
        "warning.outbox_age": _("The oldest event waits for {value}; the limit is {threshold}."),
        "warning.archive_age": _("The oldest event waits for {value}; the limit is {threshold}."),
        "warning.lost_events": _("Gaps found in 24 hours: {value}."),
        "health.runbook": _("Runbook:"),
        "state.ok": _("OK"),
        "state.warning": _("Warning"),
        "state.critical": _("Critical"),
        "state.unknown": _("Unknown"),
    }


def _attention_strings() -> dict[str, str]:
    return {
        "attention.none": _("Nothing is wrong."),
        "attention.failing": _(
            "Task type {type}: {percent} failed, {failed} of {ended} attempts. {error}"
        ),
        "attention.stuck": _(
            "Job {title} ({type}) is stuck: it has sent neither events nor heartbeats since"
        ),
        "attention.quiet": _(
            "Job {title} ({type}) hangs: worker {worker} sends heartbeats, but the last event was"
        ),
        "attention.more": _("More stuck jobs: {count}"),
        "attention.waiting": _("Jobs that wait for an answer: {count}"),
        "attention.alerts": _("Firing alerts: {count}"),
    }


def _chart_strings() -> dict[str, str]:
    return {
        "chart.ended": _("Ended attempts by status"),
        "chart.failure_rate": _("Failure rate"),
        "chart.queue_wait": _("Queue wait"),
        "chart.duration": _("Duration of attempts"),
        "chart.first_event": _("Time to the first event"),
        "chart.events": _("Events per second"),
        "chart.jobs": _("Open jobs"),
        "chart.lag": _("Age of the oldest event that waits"),
        "chart.memory": _("Redis memory"),
        "chart.streams": _("Streams in Redis"),
        "chart.tokens": _("Tokens"),
        "chart.cost": _("Cost in {currency}").replace("{currency}", job_settings.CURRENCY),
        "chart.empty": _("No values in this time"),
        "chart.table": _("Table"),
        "chart.time": _("Time"),
        "chart.summary": _("{series}: latest {latest}, highest {highest}"),
        **{f"series.{value}": str(label) for value, label in Job.Status.choices},
        "series.rate": _("Failed"),
        "series.previous": _("Previous period"),
        "series.p50": _("Median"),
        "series.p95": _("p95"),
        "series.appended": _("Appended"),
        "series.archived": _("Archived"),
        "series.inputs": _("Awaiting input"),
        "series.outbox": _("Outbox"),
        "series.archive": _("Archive"),
        "series.used": _("In use"),
        "series.limit": _("Limit"),
        "series.streams": _("Streams"),
        "series.input": _("Input"),
        "series.output": _("Output"),
        "series.cost": _("Cost"),
    }


def _table_strings() -> dict[str, str]:
    return {
        "table.failing": _("Task types with failed attempts, the most failures first"),
        "table.jobs": _("Stuck jobs and jobs that wait for an answer"),
        "table.alerts": _("Pending and firing alerts, newest first"),
        "table.deliveries": _("Messages that were not delivered, newest first"),
        "table.workers": _("Workers with running tasks"),
        "empty.failing": _("No attempt failed in this time."),
        "empty.jobs": _("No job is stuck or waits for an answer."),
        "empty.alerts": _("No alert is pending or firing."),
        "empty.deliveries": _("No message failed."),
        "empty.workers": _("No worker has a task."),
    }


def _column_strings() -> dict[str, str]:
    return {
        "column.type": _("Type"),
        "column.ended": _("Ended"),
        "column.failed": _("Failed"),
        "column.rate": _("Rate"),
        "column.error": _("Last error"),
        "column.actions": _("Actions"),
        "column.state": _("State"),
        "column.job": _("Job"),
        "column.since": _("Since"),
        "column.last_event": _("Last event"),
        "column.heartbeat": _("Heartbeat"),
        "column.oldest_heartbeat": _("Oldest heartbeat"),
        "column.worker": _("Worker"),
        "column.tasks": _("Tasks"),
        "column.rule": _("Rule"),
        "column.alert": _("Alert"),
        "column.value": _("Value"),
        "column.channel": _("Channel"),
        "column.attempts": _("Attempts"),
        "column.next": _("Next attempt"),
    }


def _row_strings() -> dict[str, str]:
    return {
        "state.stuck": _("Stuck"),
        "state.quiet": _("No events"),
        "state.waiting": _("Awaiting input"),
        "state.pending": _("Pending"),
        "state.firing": _("Firing"),
        "worker.alive": _("Alive"),
        "worker.late": _("No heartbeat"),
        "worker.unknown": _("No heartbeats"),
        "delivery.given_up": _("Given up"),
        "action.cancel": _("Cancel"),
        "action.retry": _("Retry"),
        "action.answer": _("Answer"),
        "action.failed": _("The server does not answer. Try again."),
        "done.cancel": _("The job was cancelled."),
        "done.retry": _("A new attempt was started."),
    }
