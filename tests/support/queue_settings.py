"""Settings of the site with workers of `django.tasks` and RQ, and short timeouts."""

from importlib.util import find_spec

from tests.support.site_settings import *  # noqa: F403
from tests.support.site_settings import INSTALLED_APPS, JOB_EVENTS

_TASKS = ("steps", "fails", "gate")

JOB_EVENTS = {
    **JOB_EVENTS,
    "WORKER_TIMEOUT": 3.0,
    "RUNNERS": {
        **{f"django_tasks-{name}": f"tests.support.queue_tasks.{name}" for name in _TASKS},
        **{f"rq-{name}": f"tests.support.rq_tasks.{name}" for name in _TASKS},
        "django_tasks-sleeps": "tests.support.queue_tasks.sleeps",
        "rq-with_retry": "tests.support.rq_tasks.with_retry",
        "rq-with_timeout": "tests.support.rq_tasks.with_timeout",
    },
}

_BACKPORT = [] if find_spec("django.tasks") else ["django_tasks"]
INSTALLED_APPS = [
    *INSTALLED_APPS,
    *_BACKPORT,
    "django_tasks_db",
    "events.integrations.django_tasks",
]
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
