"""HTML of cells and fields: times with seconds and zone, states, JSON, long texts."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from django.contrib import admin
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from events.codec import replace_invalid
from events.database import aware_time
from events.json_size import cut_text
from events.processor.report import duration_text, time_text

EMPTY: Final = "-"
MAX_JSON_CHARACTERS: Final = 200_000


def time_html(value: datetime | None) -> SafeString | str:
    """Return a time with seconds, in the time zone of Django with its name."""
    if value is None:
        return EMPTY
    time = timezone.localtime(aware_time(value))
    day, clock = time_text(value).split(" ", 1)
    html = '<time datetime="{}" title="{}"><span>{}</span> <span>{}</span></time>'
    return format_html(html, time.isoformat(), _age_text(time), day, clock)


def _age_text(time: datetime) -> str:
    age = (aware_time(timezone.now()) - time).total_seconds()
    return _("%(duration)s ago") % {"duration": duration_text(age)} if age >= 0 else ""


def time_column(name: str, description: Any, *, sorts: bool = False) -> Callable[[Any, Any], str]:
    """Return a method of an admin that displays the time in a field."""
    return _column(time_html, name, description, ordering=name if sorts else None)


def state_html(state: str, label: Any, detail: str = "") -> SafeString:
    """Return a word with a dot; the style sheet gives the shape and colour of the state."""
    small = format_html(" <small>{}</small>", detail) if detail else ""
    html = '<span class="job-events-state" data-state="{}">{}{}</span>'
    return format_html(html, state, label, small)


def cut_html(text: str) -> SafeString | str:
    """Return a text that the style sheet cuts to the width of its cell, complete as the title."""
    html = '<span class="job-events-cut" title="{}">{}</span>'
    return format_html(html, text, text) if text else EMPTY


def text_html(text: str) -> SafeString | str:
    """Return a text with its line breaks."""
    text = replace_invalid(text)
    return format_html('<div class="job-events-text" dir="auto">{}</div>', text) if text else EMPTY


def text_column(name: str, description: Any) -> Callable[[Any, Any], str]:
    """Return a method of an admin that displays the text in a field."""
    return _column(text_html, name, description)


def json_html(value: Any) -> SafeString | str:
    """Return a JSON value, indented; a text alone is displayed as it is."""
    if value is None:
        return EMPTY
    if isinstance(value, str):
        return text_html(cut_text(value, MAX_JSON_CHARACTERS))
    try:
        text = replace_invalid(json.dumps(value, ensure_ascii=False, indent=2))
    except RecursionError:  # other producers may nest hundreds of levels
        return _("The value has too many levels to be displayed.")
    html = '<pre class="job-events-json" dir="auto">{}</pre>'
    return format_html(html, cut_text(text, MAX_JSON_CHARACTERS))


def json_column(name: str, description: Any) -> Callable[[Any, Any], str]:
    """Return a method of an admin that displays the JSON in a field."""
    return _column(json_html, name, description)


def _column(
    html: Callable[[Any], str], name: str, description: Any, ordering: str | None = None
) -> Callable[[Any, Any], str]:
    @admin.display(description=description, ordering=ordering)
    def column(_admin: Any, row: Any) -> str:
        return html(getattr(row, name))

    return column
