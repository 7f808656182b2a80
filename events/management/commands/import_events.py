"""`manage.py import_events FILE`: exported logs back into the archive."""

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
    """Reads NDJSON as the export writes it; what is in the archive already is left as it is."""

    help = (
        "Read the events of an NDJSON export into the archive. It may be done again: what is there"
        " is left as it is. A log that has something else in its place is refused."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take which file, and of which job."""
        parser.add_argument("file", help="an NDJSON file; - for the standard input")
        parser.add_argument("--job", help="make them the events of this job")

    def handle(self, *_args: Any, file: str, job: str | None, **_options: Any) -> None:
        """Import; what goes wrong is a sentence."""
        try:
            with nullcontext(sys.stdin.buffer) if file == "-" else Path(file).open("rb") as lines:
                count = import_events(read_lines(lines, job))
        except (EventsError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{count} events imported.")
