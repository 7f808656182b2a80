"""The deployable site of this repository; an installing project has its own."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
