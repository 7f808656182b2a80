"""Translated labels of the elements `<job-progress>` and `<job-timeline>`.

The English ones are also those of `job-elements.js`, for pages without translations.
"""

from django.utils.translation import gettext as _

from jobs.models import Job
from jobs.pages.tab_strings import json_strings
from jobs.pages.timeline_strings import timeline_strings


def element_strings() -> dict[str, str]:
    """The labels of `<job-progress>`."""
    return {
        **{str(value): str(label) for value, label in Job.Status.choices},
        "waiting": _("Waiting for input"),
        "loading": _("Connecting…"),
        "connecting": _("Connecting…"),
        "reconnecting": _("Reconnecting…"),
        "refused": _("Not available"),
        "handled": _("Handled errors: {count}"),
        "percent": _("{percent}%"),
        "fact.started": _("Started"),
        "fact.duration": _("Duration"),
        "fact.queue": _("Waited in queue"),
        "fact.first": _("First event after"),
        "fact.attempt": _("Attempt"),
        "fact.calls": _("Model calls"),
        "fact.tokens": _("Tokens in / out"),
    }


def timeline_labels() -> dict[str, str]:
    """The labels of `<job-timeline>`, with those of the values that it shows."""
    return {**timeline_strings(), **json_strings()}
