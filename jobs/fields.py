"""Model field for the search terms of a job."""

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from events.archive.terms import words_of
from events.fields import TermsField


class JobTermsField(TermsField):
    """The words of the title, task_type and job_id, set when a row is created or saved."""

    def pre_save(self, model_instance: Model, add: bool) -> str:
        job: Any = model_instance
        words = words_of(f"{job.title} {job.task_type} {job.job_id}")
        terms = " ".join(dict.fromkeys(words))
        setattr(job, self.attname, terms)
        return terms

    def get_placeholder(self, value: Any, compiler: Any, connection: BaseDatabaseWrapper) -> str:
        return "%s::tsvector" if connection.vendor == "postgresql" else "%s"

    def get_placeholder_sql(
        self, value: Any, compiler: Any, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        """Return the placeholder and its parameters; Django 6.1 calls it instead."""
        return self.get_placeholder(value, compiler, connection), (value,)
