"""`manage.py replay_job JOB_ID --to OTHER_JOB_ID`: a recording into another job's log."""

from argparse import ArgumentParser
from typing import Any

from django.core.management import CommandError
from django.core.management.base import BaseCommand

from events.exceptions import EventsError
from events.publisher import get_publisher
from events.transfer.export import pages
from events.transfer.republish import republish
from events.types import check_job_id


class Command(BaseCommand):
    """Publishes the events of one log into another, with the time between them as it was."""

    help = (
        "Publish the events of a job's log up to now into the log of another job, for tests and"
        " demos. They have the time of now; all else is as it was, so the other job's row follows."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take from where, to where, and how fast."""
        parser.add_argument("job_id")
        parser.add_argument("--to", required=True, metavar="OTHER_JOB_ID")
        parser.add_argument("--speed", type=float, default=1.0, help="2: twice as fast as it was")
        parser.add_argument("--at-once", action="store_true", help="without any time between them")

    def handle(
        self, *_args: Any, job_id: str, to: str, speed: float, at_once: bool, **_options: Any
    ) -> None:
        """Replay; what goes wrong is a sentence."""
        if not 0 < speed < float("inf"):
            raise CommandError("--speed is a number above 0.")
        try:
            if check_job_id(job_id) == check_job_id(to):
                raise CommandError("A log is not replayed into itself: name another job by --to.")
            count = replay(job_id, to, None if at_once else speed)
        except EventsError as error:
            raise CommandError(str(error)) from error
        if not count:
            raise CommandError(f"There is no event of {job_id}.")
        self.stdout.write(f"{count} events of {job_id} replayed into {to}.")


def replay(job_id: str, to: str, speed: float | None) -> int:
    """Publish the events of one log into another; returns how many."""
    events = (event._replace(job_id=to) for page in pages(job_id) for event in page)
    return republish(get_publisher(), events, speed)
