"""`manage.py process_events`: relay, archiver and what else keeps the log whole."""

import logging
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import django.db
from django.core.management import CommandError
from django.core.management.base import BaseCommand

from events.exceptions import EventsError
from events.log_format import LineHandler, summarize_error
from events.processor.processor import (
    STOP_SECONDS,
    Processing,
    process_once,
    stopping_on_signals,
    unfinished_business,
)
from events.processor.status import get_status
from events.processor.status_text import status_json, status_table
from events.processor.steps import build_steps


class Command(BaseCommand):
    """Runs until it is told to stop, or once, or only tells how the log does."""

    help = (
        "Append what waits in the outbox, archive the streams, let the jobs follow their logs."
        " Runs until SIGTERM or Ctrl-C; several may run."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take what is to be done."""
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--once", action="store_true", help="do what there is to do now, and end: for cron"
        )
        what.add_argument(
            "--status",
            action="store_true",
            help="print how the log does; the exit code is 1 if process_events is not running,"
            " a log is stalled or Redis does not answer",
        )
        parser.add_argument("--json", action="store_true", help="print the status as JSON")
        parser.add_argument(
            "--timeout", type=float, default=60.0, help="seconds that --once takes at most (60)"
        )

    def handle(
        self, *_args: Any, once: bool, status: bool, json: bool, timeout: float, **_options: Any
    ) -> None:
        """Do it; a fault of Redis or of the database is a sentence."""
        if json and not status:
            raise CommandError("--json goes with --status.")
        try:
            if status:
                self._tell_status(json)
            elif once:
                self._run_once(timeout)
            else:
                self._run()
        except EventsError as error:
            raise CommandError(str(error)) from error
        except django.db.Error as error:
            text = f"The database cannot be used: is it up, and migrated? {summarize_error(error)}"
            raise CommandError(text) from error

    def _run(self) -> None:
        with self._shown_logs(), stopping_on_signals() as stopping:
            left = Processing(build_steps()).run(stopping)
        if left:
            names = " and ".join(left)
            raise CommandError(f"Ended, but {names} did not finish within {STOP_SECONDS:.0f} s.")

    def _run_once(self, timeout: float) -> None:
        with self._shown_logs():
            done = process_once(build_steps(single_pass=True), timeout=timeout)
        counts = done.counts
        self.stdout.write(f"Appended {counts['relay']} events, archived {counts['archiver']}.")
        if ended := counts.get("reaper"):
            self.stdout.write(f"Ended {ended} jobs whose worker is dead, or never came.")
        problem = unfinished_business(done)
        if problem:
            raise CommandError(problem)

    def _tell_status(self, as_json: bool) -> None:
        status = get_status()
        self.stdout.write(status_json(status) if as_json else status_table(status))
        if not status.healthy:
            raise SystemExit(1)

    @contextmanager
    def _shown_logs(self) -> Iterator[None]:
        """Show what is logged on stderr where the project shows it nowhere."""
        logger = logging.getLogger("events")
        if logger.hasHandlers():
            yield
            return
        handler = LineHandler(lambda line: self.stderr.write(line, style_func=str))
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
