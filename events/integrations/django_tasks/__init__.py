"""Tasks of Django's own framework, `django.tasks`, and of its backport `django_tasks`.

A line in INSTALLED_APPS lets the jobs follow them that their arguments name::

    INSTALLED_APPS = [..., "events", "jobs", "events.integrations.django_tasks"]

docs/how-to.md, "Run jobs by django.tasks", has the rest.
"""

from events.integrations.django_tasks.adapter import DjangoTasksAdapter, follows_job

__all__ = ["DjangoTasksAdapter", "follows_job"]
