"""Settings of the demo, from the environment."""

from typing import Any

from config.environment import flag, text

# The login page shows the password of the demo user.
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
