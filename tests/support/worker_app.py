"""Celery app with the tasks of the tests: `celery -A tests.support.worker_app`."""

import django

from config.celery import app

django.setup()

from tests.support import graph_tasks, outcome_tasks, worker_tasks  # noqa: E402, F401

__all__ = ["app"]
