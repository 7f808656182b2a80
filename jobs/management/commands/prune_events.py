"""`manage.py prune_events`: removes the events that RETENTION does not keep."""

from argparse import ArgumentParser
from collections import Counter
from time import sleep
from typing import Any

from django.core.management import CommandError
from django.core.management.base import BaseCommand

from events.archive.retention import count_before, delete_before
from jobs.conf import job_settings
from jobs.retention import DEFAULT, due_truncations


class Command(BaseCommand):
    """Removes old events in small transactions; may be stopped and run again at any time."""

    help = (
        "Remove the events that the setting RETENTION does not keep, oldest first, in batches of"
        " 1,000. This cannot be undone; --dry-run counts the events without removing them."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only count the events")
        pause = "seconds to wait after each batch"
        parser.add_argument("--pause", type=float, default=0.0, help=pause)

    def handle(self, *_args: Any, dry_run: bool, pause: float, **_options: Any) -> None:
        if not job_settings.RETENTION:
            raise CommandError("The setting RETENTION is empty: everything is kept.")
        logs, events = Counter[str](), Counter[str]()
        for log_id, task_type, point in due_truncations():
            logs[task_type] += 1
            if dry_run:
                events[task_type] += count_before(log_id, point)
                continue
            while removed := delete_before(log_id, point):
                events[task_type] += removed
                sleep(pause)
        verb = "would be removed" if dry_run else "removed"
        for task_type in sorted(logs):
            name = "without a job" if task_type == DEFAULT else task_type
            counts = f"{events[task_type]} events of {logs[task_type]} logs"
            self.stdout.write(f"{name}: {counts} {verb}")
        self.stdout.write(f"Total: {events.total()} events of {logs.total()} logs {verb}.")
