"""Jobs that follow the tasks of `django.tasks`, or of its backport `django_tasks`.

    INSTALLED_APPS = [..., "events", "jobs", "events.integrations.django_tasks"]

adapter   `follows_job` and the queue adapter
apps      receivers of the task signals

Allowed imports: `events.execution` and the packages below it. See docs/how-to.md, "Run jobs with
django.tasks".
"""

from events.integrations.django_tasks.adapter import DjangoTasksAdapter, follows_job

__all__ = ["DjangoTasksAdapter", "follows_job"]
