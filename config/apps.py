"""App of the site, so that Django finds its management commands."""

from django.apps import AppConfig


class SiteConfig(AppConfig):
    """`config` in INSTALLED_APPS."""

    name = "config"
    verbose_name = "Job events site"
