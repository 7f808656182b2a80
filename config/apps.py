"""The site as an app, so that its management commands are found."""

from django.apps import AppConfig


class SiteConfig(AppConfig):
    """`config` in INSTALLED_APPS."""

    name = "config"
    verbose_name = "Job events site"
