"""Translated strings of the scripts, which the pages contain as JSON.

Placeholders are in braces. Numbers follow a colon, so that no language needs a plural form.
"""

from django.utils.translation import gettext as _

from jobs.models import Job


def job_page_strings() -> dict[str, str]:
    """The strings of the job page."""
    return {
        **{f"status.{value}": str(label) for value, label in Job.Status.choices},
        "live.connecting": _("Connecting…"),
        "live.live": _("Live"),
        "live.reconnecting": _("Reconnecting…"),
        "live.polling": _("Polling"),
        "live.ended": _("All events received"),
        "live.refused": _("No longer available: reload the page"),
        "announce.phase": _("Phase: {phase}"),
        "announce.status": _("Job: {status}"),
        "reset": _("The log was read again from its start: {reason}"),
        "percent": _("{percent}%"),
        "tool.unknown": _("Unnamed tool"),
        "tool.running": _("Running"),
        "tool.done": _("Done"),
        "tool.failed": _("Failed"),
        "tool.stopped": _("No result"),
        "tool.input": _("Input"),
        "tool.output": _("Result"),
        "events.count": _("{total} in all"),
        "events.filtered": _("{shown} of {total}"),
        "events.earlier": _("Show earlier events: {count}"),
        "replay.play": _("Play"),
        "replay.pause": _("Pause"),
        "replay.at": _("{at} of {length}"),
        "question.asked": _("The job asks: {text}"),
        "question.send": _("Send the answer"),
        "question.failed": _("The answer was not taken. Try again."),
        "error.unnamed": _("An error without a message"),
    }


def list_page_strings() -> dict[str, str]:
    """The strings of the job list."""
    return {
        "live.live": _("Live"),
        "live.paused": _("Paused"),
        "live.offline": _("Offline"),
        "live.refused": _("Logged out: reload the page"),
        "announce.new": _("New jobs: {count}"),
    }
