"""`manage.py send_test_alert`."""

import json
from io import StringIO

import pytest
from django.core import mail
from django.core.management import CommandError, call_command

from jobs.models import AlertMessage
from jobs.signals import alert_changed
from tests.integration.jobs.alerts.receivers import Receiver, use_backend

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def channels(settings):
    receiver = Receiver()
    channels = {
        "ops": {"kind": "email", "to": ["ops@example.org"]},
        "hook": receiver.channel(),
        "broken": {"kind": "email"},
    }
    use_backend(settings, "locmem")
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "ALERT_CHANNELS": channels}
    return receiver


def run(channel):
    output = StringIO()
    call_command("send_test_alert", channel, stdout=output)
    assert not AlertMessage.objects.exists()
    return output.getvalue()


def test_email():
    assert run("ops").startswith("Delivered as message ")
    assert mail.outbox[0].subject == "Firing: test, 1 alert"
    assert "This is a test. No action is required." in mail.outbox[0].body


def test_webhook(channels):
    with channels.running():
        output = run("hook")
    ((_path, headers, body),) = channels.requests
    assert headers["webhook-id"] in output
    assert json.loads(body)["data"]["rule"] == "test"


def test_signal():
    received = []

    def receive(message, **kwargs):
        received.append(message.rule)

    alert_changed.connect(receive)
    run("signal")
    alert_changed.disconnect(receive)
    assert received == ["test"]


def test_errors(channels):
    with pytest.raises(CommandError, match="The channels are: signal, ops, hook, broken"):
        run("other")
    with pytest.raises(CommandError, match="Not delivered: The channel 'broken' has no `to`"):
        run("broken")
    with pytest.raises(CommandError, match="Connection refused") as info:
        run("hook")
    assert "secret" not in str(info.value)
    assert info.value.__cause__ is None
