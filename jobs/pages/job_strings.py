"""Translated strings of the scripts of the run page, in the form of `jobs.pages.strings`."""

from django.utils.translation import gettext as _

from jobs.models import Job
from jobs.pages.timeline_strings import timeline_strings


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
        **_json_strings(),
        **timeline_strings(),
    }


def _json_strings() -> dict[str, str]:
    return {
        "json.more": _("Show more: {count}"),
        "json.all": _("Show all characters: {count}"),
        "json.deep": _("Nested too deeply to be shown"),
    }
