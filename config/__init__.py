"""The deployable site of this repository. Projects that install the apps have their own."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
