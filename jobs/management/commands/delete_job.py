"""`manage.py delete_job JOB_ID …`: deletes jobs with their logs, for good."""

from argparse import ArgumentParser
from typing import Any

from django.core.management import CommandError
from django.core.management.base import BaseCommand

from events.erasure import delete_log, erase_log
from events.exceptions import EventsError
from events.history import has_log
from jobs import services
from jobs.exceptions import JobNotFound


class Command(BaseCommand):
    """Deletes jobs, and logs without a job; may be interrupted and run again at any time."""

    help = (
        "Delete jobs with their tasks, questions and logs, for good. A running job is stopped. Also"
        " deletes logs without a job. Export first what has to be kept."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("job_ids", nargs="+", metavar="JOB_ID")
        text = "do not ask for confirmation"
        parser.add_argument("--no-input", "--noinput", action="store_true", help=text)

    def handle(self, *_args: Any, job_ids: list[str], no_input: bool, **_options: Any) -> None:
        question = f"Delete {', '.join(job_ids)} for good? [y/N] "
        if not no_input and input(question).strip().lower() not in ("y", "yes"):
            raise CommandError("Nothing was deleted.")
        for job_id in job_ids:
            try:
                _delete(job_id)
            except EventsError as error:
                raise CommandError(str(error)) from error
            try:
                erase_log(job_id)
            except EventsError as error:
                text = f"Job {job_id} is deleted; process_events will erase its log: {error}"
                raise CommandError(text) from error
            self.stdout.write(f"Job {job_id} is deleted, and its log is erased.")


def _delete(job_id: str) -> None:
    try:
        services.job_delete(job_id=job_id)
    except JobNotFound as error:
        if not has_log(job_id):
            raise CommandError(f"There is no job {job_id}, and no log of it.") from error
        delete_log(job_id)
