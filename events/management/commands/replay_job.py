"""`manage.py replay_job JOB_ID --to OTHER_JOB_ID`: publishes a log again for another job."""

from argparse import ArgumentParser
from typing import Any

from django.core.management import CommandError
from django.core.management.base import BaseCommand

from events.exceptions import EventsError
from events.publisher import get_publisher
from events.transfer.export import iter_pages
from events.transfer.republish import republish
from events.types import check_job_id


class Command(BaseCommand):
    """Publishes the events of one log to another, at the recorded pace."""

    help = (
        "Publish the current events of a job to the log of another job, for tests and demos. They"
        " get new timestamps and are otherwise unchanged, so the other job is updated from them."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("job_id")
        parser.add_argument("--to", required=True, metavar="OTHER_JOB_ID")
        parser.add_argument("--speed", type=float, default=1.0, help="2: twice the recorded pace")
        parser.add_argument("--at-once", action="store_true", help="without pauses")

    def handle(
        self, *_args: Any, job_id: str, to: str, speed: float, at_once: bool, **_options: Any
    ) -> None:
        if not 0 < speed < float("inf"):
            raise CommandError("--speed must be a number above 0.")
        try:
            if check_job_id(job_id) == check_job_id(to):
                raise CommandError("A log cannot be replayed into itself; name another job.")
            events = (event._replace(job_id=to) for page in iter_pages(job_id) for event in page)
            count = republish(get_publisher(), events, None if at_once else speed)
        except EventsError as error:
            raise CommandError(str(error)) from error
        if not count:
            raise CommandError(f"The log of {job_id} is empty.")
        self.stdout.write(f"{count} events of {job_id} replayed into {to}.")
