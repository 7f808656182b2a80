"""`manage.py import_events FILE`: imports an NDJSON export into the archive."""

import sys
from argparse import ArgumentParser
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from django.core.management import CommandError
from django.core.management.base import BaseCommand

from events.archive.importer import import_events
from events.exceptions import EventsError
from events.transfer.ndjson import read_lines


class Command(BaseCommand):
    """Imports NDJSON; events that are archived already are skipped."""

    help = (
        "Import the events of an NDJSON export into the archive. Events that are archived already"
        " are skipped. Fails for a log that has different events at the same ids."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="an NDJSON file; - for standard input")
        parser.add_argument("--job", help="import the events into the log of this job")

    def handle(self, *_args: Any, file: str, job: str | None, **_options: Any) -> None:
        try:
            with nullcontext(sys.stdin.buffer) if file == "-" else Path(file).open("rb") as lines:
                count = import_events(read_lines(lines, job))
        except (EventsError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{count} events imported.")
