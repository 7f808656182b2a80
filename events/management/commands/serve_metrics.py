"""`manage.py serve_metrics`: the metrics of all processes of a host, such as Celery workers."""

from argparse import ArgumentParser
from time import sleep
from typing import Any, Final

from django.core.management import CommandError
from django.core.management.base import BaseCommand

from events.management.metrics import LOCAL_ADDRESS, served_metrics
from events.metrics.instruments import multiprocess_directory
from events.processor.processor import stop_on_signals

_POLL_SECONDS: Final = 0.2


class Command(BaseCommand):
    """Serves what the processes have written to PROMETHEUS_MULTIPROC_DIR, until a signal."""

    help = (
        "Serve the metrics of the processes with the same PROMETHEUS_MULTIPROC_DIR at /metrics, for"
        " hosts without a web server. Runs until SIGTERM or Ctrl-C."
    )
    requires_system_checks: list[str] = []  # noqa: RUF012 - that of Django

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, required=True, help="port; 0 for a free one")
        parser.add_argument(
            "--address",
            default=LOCAL_ADDRESS,
            help=f"address ({LOCAL_ADDRESS}); who can connect can read the metrics",
        )

    def handle(self, *_args: Any, port: int, address: str, **_options: Any) -> None:
        if multiprocess_directory() is None:
            raise CommandError(
                "Set the environment variable PROMETHEUS_MULTIPROC_DIR to a directory, here and for"
                " the processes whose metrics are served."
            )
        with (
            stop_on_signals() as should_stop,
            served_metrics(port, address, with_collectors=False) as served,
        ):
            self.stdout.write(f"Metrics at http://{address}:{served}/metrics")
            self.stdout.flush()
            while not should_stop():
                sleep(_POLL_SECONDS)
