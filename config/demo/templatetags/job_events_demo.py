"""Template tags of the demo."""

from typing import Any

from django import template
from django.conf import settings

register = template.Library()


@register.simple_tag
def is_demo() -> bool:
    """Return whether the login page shows the password of the demo user."""
    return bool(settings.JOB_EVENTS_DEMO)


@register.simple_tag
def uses_offline_model() -> bool:
    """Return whether the writing tasks use the offline model."""
    provider, _, _ = str(settings.JOB_EVENTS.get("CHAT_MODEL", "")).partition(":")
    return provider in {"", "offline"}


@register.simple_tag
def context_files(payload: Any) -> list[dict[str, Any]]:
    """Return name and size in bytes of the files of a payload, which API clients may have sent."""
    files = payload.get("context_files") if isinstance(payload, dict) else None
    return [
        {"name": file.get("name"), "size": len(str(file.get("text")).encode(errors="replace"))}
        for file in (files if isinstance(files, list) else [])
        if isinstance(file, dict)
    ]
