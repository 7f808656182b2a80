"""`manage.py bridge_pubsub`: appends what publishers send to Pub/Sub channels."""

from typing import Any

from django.core.management.base import BaseCommand

from events.log_format import logs_on
from events.processor.processor import stop_on_signals
from events.transfer.pubsub_bridge import PubSubBridge


class Command(BaseCommand):
    """Runs until a signal."""

    help = (
        "Append to the logs what publishers send to the Pub/Sub channels job:{job_id}:events,"
        " except what MIRROR_PUBSUB mirrored there. Runs until SIGTERM or Ctrl-C. Several instances"
        " may run, and append each message once."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        with (
            logs_on(lambda line: self.stderr.write(line, style_func=str)),
            stop_on_signals() as should_stop,
        ):
            PubSubBridge(should_stop).run()
