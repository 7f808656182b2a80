"""The demo as a Django app: its command, templates, static files and template tags."""

from django.apps import AppConfig


class DemoConfig(AppConfig):
    """`config.demo` in INSTALLED_APPS."""

    name = "config.demo"
    label = "job_events_demo"
    verbose_name = "Demo of job events"
