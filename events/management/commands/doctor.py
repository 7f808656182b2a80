"""`manage.py doctor`: checks Redis, the database, the project and processing."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from events.doctor.checks import Examination
from events.doctor.findings import FindingState
from events.doctor.report import findings_json, findings_text


class Command(BaseCommand):
    """Prints a finding for each check, the worst first."""

    help = (
        "Check Redis, the database, the project and processing. Prints what was found, what to do,"
        " and where the runbook describes it. Publishes an event to a temporary log, and erases it."
        " The exit code is 0 if there is no error, 1 if there is one, 2 if the options are invalid."
    )
    # Their errors are findings.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--url",
            default="",
            help="the address of the site as its users reach it: also checks static files there,"
            " and the time until the first byte of a stream, which a buffering proxy delays",
        )
        parser.add_argument(
            "--user",
            default="",
            help="the name of the user who opens the stream (the first active superuser)",
        )
        parser.add_argument("--json", action="store_true", help="print the findings as JSON")
        parser.add_argument("--strict", action="store_true", help="exit with 1 for a warning, too")

    def handle(
        self, *_args: Any, url: str, user: str, json: bool, strict: bool, **_options: Any
    ) -> None:
        findings = list(Examination(url=url.rstrip("/"), user=user).run())
        self.stdout.write(findings_json(findings) if json else findings_text(findings))
        failing = {FindingState.ERROR, *([FindingState.WARNING] if strict else [])}
        if any(finding.state in failing for finding in findings):
            raise SystemExit(1)
