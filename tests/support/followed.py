"""Connect jobs to Django's tasks, like the app `events.integrations.django_tasks`."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.apps import AppConfig

from events.integrations.django_tasks.apps import DjangoTasksConfig, task_signals


@contextmanager
def followed_tasks() -> Iterator[DjangoTasksConfig]:
    config = AppConfig.create("events.integrations.django_tasks")
    config.ready()
    try:
        yield config
    finally:
        for signals in task_signals():
            for signal in (signals.task_enqueued, signals.task_started, signals.task_finished):
                assert signal.disconnect(dispatch_uid=config.label)
