"""Settings of the site with the tasks of `tests.support.worker_tasks` and short timeouts."""

from tests.support.site_settings import *  # noqa: F403
from tests.support.site_settings import CELERY_BROKER_TRANSPORT_OPTIONS, JOB_EVENTS, REDIS_URL

JOB_EVENTS = {
    **JOB_EVENTS,
    "WORKER_TIMEOUT": 3.0,
    "KEEP_ALIVE": 1.0,
    "RUNNERS": {
        name: f"tests.support.{'graph_tasks' if 'graph' in name else 'worker_tasks'}.{name}"
        for name in (
            "steps", "fails", "tries_again", "soft", "hard", "gate", "late_gate", "coroutine",
            "loops", "decorated", "decorated_tries", "chained", "grouped", "chorded", "nested",
            "chain_fails", "chord_in_chain", "late", "waits_for_file", "requests_input",
            "requests_input_in_chain", "interrupted_graph", "async_interrupted_graph",
            "parallel_interrupts_graph", "endless_graph", "killed_graph", "leaky_graph",
            "survey_graph", "async_survey_graph", "breakpoint_graph",
        )
    } | {
        name: f"tests.support.outcome_tasks.{name}"
        for name in (
            "raises", "decorated_raises", "late_raises_once", "prepared", "replaces",
            "decorated_replaces", "replaced_in_chain", "sends_and_ignores", "canvas",
            "retries_and_returns", "retries_rejected", "sends_ahead",
            "unserializable_in_chain", "unserializable_in_chord",
            "asks_before_expiry", "long", "long_with_expiry", "late_waits", "added",
        )
    },
}  # fmt: skip

CELERY_TASK_IGNORE_RESULT = False
CELERY_RESULT_BACKEND = REDIS_URL.replace("unix://", "redis+socket://")
CELERY_BROKER_TRANSPORT_OPTIONS = {**CELERY_BROKER_TRANSPORT_OPTIONS, "visibility_timeout": 3}
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 2.0
