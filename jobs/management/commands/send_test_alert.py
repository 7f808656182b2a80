"""`manage.py send_test_alert CHANNEL`: sends a test message to a channel of alerts."""

from argparse import ArgumentParser
from typing import Any
from uuid import uuid4

from django.core.management import CommandError
from django.core.management.base import BaseCommand
from django.utils import timezone
from django.utils.translation import gettext as _

from jobs.alerts.channels import channel_names, describe_error, open_channel
from jobs.alerts.links import monitor_link
from jobs.models import Alert, AlertMessage


class Command(BaseCommand):
    """Makes one attempt; nothing is recorded or repeated."""

    help = "Send a test message to a channel of the setting ALERT_CHANNELS, or to the signal."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("channel", help="a name in ALERT_CHANNELS, or `signal`")

    def handle(self, *_args: Any, channel: str, **_options: Any) -> None:
        if channel not in channel_names():
            raise CommandError(f"The channels are: {', '.join(channel_names())}.")
        message, secrets = sample_message(), list[str]()
        try:
            opened = open_channel(channel)
            secrets += opened.secrets()
            opened.send(message)
        except Exception as error:  # noqa: BLE001 - of receivers, backends and services
            # Not as the cause: a traceback may contain secrets.
            raise CommandError(f"Not delivered: {describe_error(error, secrets)}") from None
        self.stdout.write(f"Delivered as message {message.pk}.")


def sample_message() -> AlertMessage:
    """Return a message that is not saved."""
    now = timezone.now()
    alert = {
        "subject": "test",
        "summary": _("This is a test. No action is required."),
        "value": None,
        "since": now.isoformat(),
        "url": monitor_link(),
    }
    body = {
        "rule": "test",
        "kind": "test",
        "state": Alert.State.FIRING,
        "count": 1,
        "firing": 1,
        "alerts": [alert],
        "monitor": monitor_link(),
    }
    fields = {name: body[name] for name in ("rule", "state", "count")}
    return AlertMessage(id=uuid4(), body=body, created_at=now, **fields)
