"""`manage.py import_events FILE`: imports an NDJSON export into the archive."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import IO, Any

from django.core.management import CommandError
from django.core.management.base import BaseCommand

from events.archive.importer import import_events
from events.exceptions import EventsError
from events.transfer.ndjson import read_lines


class Command(BaseCommand):
    """Imports NDJSON; events that are archived already are skipped."""

    help = (
        "Import the events of an NDJSON export into the archive. Events that are archived already"
        " are skipped. Fails for a file with an invalid line, of which it imports nothing, and for"
        " a log that has different events at the same ids."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="an NDJSON file; - for standard input")
        parser.add_argument("--job", help="import the events into the log of this job")

    def handle(self, *_args: Any, file: str, job: str | None, **_options: Any) -> None:
        try:
            with _open(file) as lines:
                for _ in read_lines(lines, job):  # before anything is written
                    pass
                lines.seek(0)
                count = import_events(read_lines(lines, job))
        except (EventsError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{count} events imported.")


def _open(file: str) -> IO[bytes]:
    """Open the file, or a copy of standard input, which can be read twice."""
    if file != "-":
        return Path(file).open("rb")
    copy = TemporaryFile()  # noqa: SIM115 - the caller closes it
    copyfileobj(sys.stdin.buffer, copy)
    copy.seek(0)
    return copy
