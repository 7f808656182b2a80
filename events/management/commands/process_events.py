"""`manage.py process_events`: runs relay, archiver, projections and reaper."""

from argparse import ArgumentParser
from contextlib import AbstractContextManager, suppress
from typing import Any

import django.db
from django.core.checks import CRITICAL
from django.core.management import CommandError
from django.core.management.base import BaseCommand

from events.archive.ownership import claim_streams
from events.checks import OWNER_HINT, REDIS_TAG
from events.database import close_connections
from events.exceptions import EventsError, RedisUnavailable, StreamsOwned
from events.log_format import logs_on, summarize_error
from events.management.metrics import LOCAL_ADDRESS, served_metrics
from events.processor import get_status
from events.processor.processor import (
    STOP_TIMEOUT_SECONDS,
    EventProcessor,
    build_steps,
    stop_on_signals,
)
from events.processor.report import status_json, status_table
from events.processor.single_pass import pending_work, run_single_pass
from events.processor.status import status_without_database


class Command(BaseCommand):
    """Runs until a signal, or once, or prints the status."""

    help = (
        "Append the events of the outbox, archive the streams and update jobs from their logs."
        " Runs until SIGTERM or Ctrl-C. Several instances may run."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        mode = parser.add_mutually_exclusive_group()
        mode.add_argument(
            "--once", action="store_true", help="process what is pending now, then exit: for cron"
        )
        mode.add_argument(
            "--status",
            action="store_true",
            help="print what is wrong, since when and what to do, then the status; the exit code is"
            " 0 if nothing is wrong, 1 if something is, 2 if the options are invalid",
        )
        parser.add_argument("--json", action="store_true", help="print the status as JSON")
        parser.add_argument(
            "--take-over",
            action="store_true",
            help="first claim the streams, if they belong to the archive of another database that"
            " this one replaces",
        )
        parser.add_argument(
            "--metrics-port", type=int, metavar="PORT", help="serve metrics at /metrics on a port"
        )
        parser.add_argument(
            "--metrics-address",
            default=LOCAL_ADDRESS,
            metavar="ADDRESS",
            help=f"address of the port ({LOCAL_ADDRESS}); who can connect can read the metrics",
        )
        parser.add_argument(
            "--timeout", type=float, default=60.0, help="maximum seconds of --once (60)"
        )

    def handle(
        self, *_args: Any, once: bool, status: bool, json: bool, timeout: float, **options: Any
    ) -> None:
        if json and not status:
            raise CommandError("--json requires --status.")
        if options["metrics_port"] is not None and (once or status):
            raise CommandError("--metrics-port requires a process that runs until a signal.")
        try:
            if options["take_over"]:
                claim_streams(force=True)
            if status:
                self._print_status(json)
            elif once:
                self._run_once(timeout)
            else:
                self._run(options["metrics_port"], options["metrics_address"])
        except StreamsOwned as error:
            raise CommandError(f"{error} {OWNER_HINT}") from error
        except EventsError as error:
            raise CommandError(str(error)) from error
        except django.db.Error as error:
            text = f"The database is not available or not migrated: {summarize_error(error)}"
            raise CommandError(text) from error

    def _check_redis(self) -> None:
        """Print what is wrong with Redis, and continue: archiving reduces what it may lose."""
        self.check(tags=[REDIS_TAG], include_deployment_checks=True, fail_level=CRITICAL)

    def _run(self, metrics_port: int | None, metrics_address: str) -> None:
        self._check_redis()
        with suppress(RedisUnavailable, django.db.Error):  # the loops wait for both
            claim_streams()
        close_connections()  # this thread waits for the loops
        with (
            served_metrics(metrics_port, metrics_address),
            self._logs_on_stderr(),
            stop_on_signals() as should_stop,
        ):
            unfinished = EventProcessor(build_steps()).run(should_stop)
        if unfinished:
            raise CommandError(
                f"Stopped, but {' and '.join(unfinished)} did not finish within"
                f" {STOP_TIMEOUT_SECONDS:.0f} s."
            )

    def _run_once(self, timeout: float) -> None:
        self._check_redis()
        with self._logs_on_stderr():
            result = run_single_pass(build_steps(single_pass=True), timeout=timeout)
        counts = result.counts
        self.stdout.write(f"Appended {counts['relay']} events, archived {counts['archiver']}.")
        if reaped := counts.get("reaper"):
            self.stdout.write(f"Ended {reaped} jobs whose worker is dead or did not start in time.")
        if losses := counts["losses"]:
            self.stdout.write(f"Reported lost events of {losses} logs.")
        problem = pending_work(result)
        if problem:
            raise CommandError(problem)

    def _print_status(self, as_json: bool) -> None:
        try:
            status = get_status()
        except django.db.Error as error:
            status = status_without_database(error)
        self.stdout.write(status_json(status) if as_json else status_table(status))
        if not status.healthy:
            raise SystemExit(1)

    def _logs_on_stderr(self) -> AbstractContextManager[None]:
        return logs_on(lambda line: self.stderr.write(line, style_func=str))
