"""`manage.py prune_events`: removes the events that RETENTION does not keep."""

from argparse import ArgumentParser
from collections import Counter
from time import sleep
from typing import Any

from django.core.management import CommandError
from django.core.management.base import BaseCommand

from jobs.conf import job_settings
from jobs.retention import DEFAULT, due_truncations


class Command(BaseCommand):
    """Removes old events in small transactions; may be stopped and run again at any time."""

    help = (
        "Remove the events that the setting RETENTION does not keep, oldest first, in batches of"
        " 1,000. This cannot be undone; --dry-run counts the events without removing them."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("--dry-run", action="store_true", help="only count the events")
        parser.add_argument(
            "--pause", type=float, default=0.0, help="seconds to wait after each batch"
        )

    def handle(self, *_args: Any, dry_run: bool, pause: float, **_options: Any) -> None:
        """Remove the events and print their number by task_type."""
        if not job_settings.RETENTION:
            raise CommandError("The setting RETENTION is empty: everything is kept.")
        logs, events = Counter[str](), Counter[str]()
        for truncation in due_truncations():
            logs[truncation.task_type] += 1
            if dry_run:
                events[truncation.task_type] += truncation.count()
                continue
            for removed in truncation.apply():
                events[truncation.task_type] += removed
                sleep(pause)
        verb = "would be removed" if dry_run else "removed"
        for task_type in sorted(logs):
            name = "without a job" if task_type == DEFAULT else task_type
            self.stdout.write(
                f"{name}: {events[task_type]} events of {logs[task_type]} logs {verb}"
            )
        self.stdout.write(f"Total: {events.total()} events of {logs.total()} logs {verb}.")
