"""Settings of the demo, from the environment."""

import secrets
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from config.environment import LOCAL_DIR, flag, text

# Set by `make demo`. The login page shows the password of the demo user.
JOB_EVENTS_DEMO = flag("JOB_EVENTS_DEMO", default=False)

# provider:model for LangChain's init_chat_model, or offline:seconds between two tokens.
CHAT_MODEL = text("CHAT_MODEL") or f"offline:{text('OFFLINE_TOKEN_DELAY', '0.02')}"

RUNNERS: dict[str, Any] = {
    "outline_generation": {
        "run": "jobs.tasks.generate_outline_from_query_task",
        "form": "config.demo.forms.WritingForm",
        "result_template": "job_events_demo/result.html",
    },
    "document_generation": {
        "run": "jobs.tasks.generate_document_from_outline_task",
        "result_template": "job_events_demo/result.html",
    },
}


def secret_key() -> str:
    """Return the random key of the demo, which LOCAL_DIR keeps so that sessions survive a restart.

    Raises ImproperlyConfigured outside the demo.
    """
    if not JOB_EVENTS_DEMO:
        raise ImproperlyConfigured(
            "Set DJANGO_SECRET_KEY to a long random text. Only `make demo` starts without it."
        )
    path = LOCAL_DIR / "secret_key"
    if not path.exists():
        new = path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(secrets.token_urlsafe(50))
        new.replace(path)
    return path.read_text()
