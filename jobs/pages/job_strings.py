"""Translated strings of the scripts of the run page, in the form of `jobs.pages.strings`."""

from django.utils.translation import gettext as _

from jobs.models import Job
from jobs.pages.tab_strings import tab_strings
from jobs.pages.timeline_strings import timeline_strings


def job_page_strings() -> dict[str, str]:
    """The strings of the run page."""
    return {
        **{f"status.{value}": str(label) for value, label in Job.Status.choices},
        "status.waiting": _("Waiting for input"),
        **{f"reason.{name}": text for name, text in reason_texts().items()},
        **_live_strings(),
        **_head_strings(),
        **_problem_strings(),
        **timeline_strings(),
        **tab_strings(),
    }


def tab_labels() -> dict[str, str]:
    """The labels of the tabs, in their order."""
    return {
        "timeline": _("Timeline"),
        "conversation": _("Conversation"),
        "events": _("Events"),
        "result": _("Result"),
        "input": _("Input"),
    }


def reason_texts() -> dict[str, str]:
    """The reasons for which attempts end, as sentences."""
    return {
        "worker_lost": _("The worker died, or sent no heartbeats for too long."),
        "timed_out": _("The task exceeded its time limit."),
        "terminated": _("The task was terminated."),
        "queue_timeout": _("No worker started the job in time."),
        "run_timeout": _("The job did not end in time."),
        "rejected": _("The worker rejected the task."),
        "replaced": _("The task replaced itself by one that does not continue this job."),
        "revoked": _("The task was revoked in its queue."),
        "expired": _("The task expired before a worker started it."),
        "ignored": _("The task ended without a result, by raising Ignore."),
        "unwatched": _("The job was cancelled because no page displayed it any longer."),
        "redelivered": _("The queue delivered the task again after its worker was lost."),
    }


def _live_strings() -> dict[str, str]:
    return {
        "live.loading": _("Loading events: {count}"),
        "live.connecting": _("Connecting…"),
        "live.live": _("Live"),
        "live.reconnecting": _("Reconnecting…"),
        "live.polling": _("Polling"),
        "live.ended": _("All {count} events"),
        "live.refused": _("No longer available: reload the page"),
        "announce.phase": _("Phase: {phase}"),
        "announce.status": _("Job: {status}"),
        "reset": _("The log was read again from its start: {reason}"),
        "replay.play": _("Play"),
        "replay.pause": _("Pause"),
        "replay.at": _("{at} of {length}"),
    }


def _head_strings() -> dict[str, str]:
    return {
        "percent": _("{percent}%"),
        "phase.stopped": _("Stopped at {place}"),
        "handled": _("Handled errors: {count}"),
        "tokens": _("{input} / {output}"),
        "tokens.unknown": _("not reported"),
        "tools.failed": _("{count} ({failed} failed)"),
        "attempt": _("Attempt {number}"),
        "attempt.retries": _("{number}, retries of tasks: {count}"),
        "copied": _("Copied"),
        "copy.failed": _("Copying failed"),
        "action.failed": _("The server does not answer. Try again."),
        "retry.used": _(
            "Model calls so far: {calls}, tokens: {tokens}. A new attempt starts from the beginning"
            " and may use as many again."
        ),
        "retry.cost": _("Cost so far: {cost}"),
        "tab.failed": _("This view could not be loaded. Reload the page."),
    }


def _problem_strings() -> dict[str, str]:
    return {
        "error.unnamed": _("An error without a message"),
        "problem.failed": _("Why it failed"),
        "problem.cancelled": _("Why it was cancelled"),
        "problem.unnamed": _("The job failed without an error message."),
        "problem.reported": _("The job ended with: {error}"),
        "problem.all": _("Show all characters: {count}"),
        "problem.traceback": _("Traceback"),
        "problem.event": _("Show its event"),
        "problem.span": _("Show it in the timeline"),
    }
