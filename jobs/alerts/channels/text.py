"""Subject and text of a message, from templates that a project may override."""

from typing import Any

from django.template.loader import render_to_string

from jobs.models import AlertMessage


def subject(message: AlertMessage) -> str:
    """Return the subject, in one line."""
    return " ".join(_render("alert_subject.txt", message).split())


def text(message: AlertMessage) -> str:
    """Return the text, without HTML."""
    return _render("alert_body.txt", message).strip() + "\n"


def _render(template: str, message: AlertMessage) -> str:
    more = message.count - len(message.body["alerts"])
    context: dict[str, Any] = {**message.body, "message": message, "more": more}
    return render_to_string(f"job_events_jobs/{template}", context)
