"""`manage.py watch_job JOB_ID`: follows a job in a terminal."""

import asyncio
import sys
from argparse import ArgumentParser
from typing import Any, Final

import orjson
from django.core.management import CommandError
from django.core.management.base import BaseCommand, OutputWrapper
from django.utils.timezone import localtime

from events.codec import event_json
from events.conf import is_number
from events.exceptions import EventsError
from events.history import has_log
from events.live import follow
from events.live.messages import Live, Reset
from events.streams.clients import close_async_redis
from events.types import Cursor, Event, check_job_id
from jobs.completion import job_completion
from jobs.models import Job
from jobs.projection import reported_status
from jobs.selectors import job_states
from jobs.timeline import timeline_row

_BAR_WIDTH: Final = 24
_EXIT_INTERRUPTED: Final = 130
_CLEAR_LINE: Final = "\r\x1b[K"


class Command(BaseCommand):
    """Prints each event as a line until the job is finished, with a progress bar in a terminal."""

    help = (
        "Print the log of a job, and follow it until the job is finished. The exit code is 0 if the"
        " job is completed, and 1 if it has failed or was cancelled."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("job_id")
        parser.add_argument("--after", default="0", help="a cursor: print the events after it")
        parser.add_argument("--json", action="store_true", help="print each event as JSON")

    def handle(self, *_args: Any, job_id: str, after: str, json: bool, **_options: Any) -> None:
        try:
            screen = Screen(self.stdout, Cursor.parse(after), json=json)
            if not job_states([check_job_id(job_id)]) and not has_log(job_id):
                raise CommandError(f"There is no job {job_id}.")
            asyncio.run(watch(job_id, screen))
        except EventsError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            screen.clear()
            command = f"manage.py watch_job {job_id} --after {screen.cursor}"
            self.stderr.write(f"Continue with: {command}")
            sys.exit(_EXIT_INTERRUPTED)
        state = job_states([job_id]).get(job_id)
        if state is not None and state["status"] in (Job.Status.FAILED, Job.Status.CANCELLED):
            sys.exit(1)


async def watch(job_id: str, screen: "Screen") -> None:
    """Print all events after the screen's cursor, and later ones, until the job is finished."""
    try:
        async for message in follow(job_id, after=screen.cursor, completion=job_completion):
            if isinstance(message, Event):
                screen.event(message)
            elif isinstance(message, Reset):
                screen.reset(message)
            elif isinstance(message, Live):
                screen.live()
        screen.clear()
    finally:
        await close_async_redis()


class Screen:
    """Prints events, and in a terminal a progress bar below them."""

    def __init__(self, out: OutputWrapper, cursor: Cursor, *, json: bool) -> None:
        self.cursor = cursor
        self._out = out
        self._json = json
        self._has_bar = out.isatty() and not json
        self._is_live = False
        self._progress = 0.0
        self._status = ""

    def event(self, event: Event) -> None:
        self.cursor = event.cursor
        if self._json:
            self._out.write(event_json(event).decode())
            return
        row = timeline_row(event)
        progress: Any = event.data.get("progress")
        status = reported_status(event.event_type, event.data)
        self._status = status or self._status
        if status == Job.Status.COMPLETED:
            self._progress = 100.0
        elif is_number(progress, most=100):
            self._progress = progress
        time = localtime(row.time) if row.time.tzinfo else row.time
        self._line(f"{time:%H:%M:%S}  {row.event_type:<20}  {row.summary}")

    def reset(self, reset: Reset) -> None:
        """Print that printed events are no longer part of the log."""
        text = f"Reset, discard the events after {reset.after}: {reset.reason}"
        if self._json:
            self._out.write(orjson.dumps({"note": text}).decode())
        else:
            self._line(f"-- {text}")

    def live(self) -> None:
        """Show the progress bar: the log has been caught up."""
        self._is_live = True
        self._bar()

    def clear(self) -> None:
        if self._has_bar:
            self._out.write(_CLEAR_LINE, ending="")
            self._out.flush()

    def _line(self, text: str) -> None:
        self.clear()
        # Events may contain terminal escape sequences.
        printable = (c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
        self._out.write("".join(printable))
        self._bar()

    def _bar(self) -> None:
        if self._has_bar and self._is_live:
            done = round(self._progress / 100 * _BAR_WIDTH)
            bar = "\N{FULL BLOCK}" * done + "\N{LIGHT SHADE}" * (_BAR_WIDTH - done)
            self._out.write(f"\r{bar} {self._progress:3.0f} %  {self._status}", ending="")
            self._out.flush()
