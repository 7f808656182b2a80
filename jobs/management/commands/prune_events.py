"""`manage.py prune_events`: removes what the setting RETENTION says is to go."""

from argparse import ArgumentParser
from collections import Counter
from time import sleep
from typing import Any

from django.core.management import CommandError
from django.core.management.base import BaseCommand

from jobs.conf import job_settings
from jobs.retention import due_cuts


class Command(BaseCommand):
    """Cuts logs in small transactions; may be stopped and run again at any time."""

    help = (
        "Remove the events that the setting RETENTION does not keep, oldest first, in batches of"
        " a thousand. They are gone for good: look with --dry-run first."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take whether it is only to be told, and how fast."""
        parser.add_argument("--dry-run", action="store_true", help="only say what would go")
        parser.add_argument(
            "--pause", type=float, default=0.0, help="seconds to wait after each batch"
        )

    def handle(self, *_args: Any, dry_run: bool, pause: float, **_options: Any) -> None:
        """Prune, and say how much."""
        if not job_settings.RETENTION:
            raise CommandError("JOB_EVENTS has no RETENTION: everything is kept.")
        logs, events = Counter[str](), Counter[str]()
        for each in due_cuts():
            logs[each.task_type] += 1
            if dry_run:
                events[each.task_type] += each.count()
                continue
            for removed in each.carry_out():
                events[each.task_type] += removed
                sleep(pause)
        verb = "would go" if dry_run else "removed"
        for task_type in sorted(logs):
            name = "without a job" if task_type == "*" else task_type
            self.stdout.write(
                f"{name}: {events[task_type]} events of {logs[task_type]} logs {verb}"
            )
        self.stdout.write(f"In all: {events.total()} events of {logs.total()} logs {verb}.")
