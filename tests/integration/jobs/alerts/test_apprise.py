"""Alert messages through Apprise, received by its JSON target."""

import json

import pytest

from jobs.alerts.deliverer import Deliverer
from jobs.models import AlertDelivery
from tests.integration.jobs.alerts.receivers import Receiver, make_message

pytestmark = pytest.mark.django_db(transaction=True)


def channel(*receivers):
    urls = [
        f"json://anna:password-of-anna@127.0.0.1:{each.port}/token-of-a-service/?+X-Key=header-key"
        for each in receivers
    ]
    return {"kind": "apprise", "urls": urls}


def deliver():
    assert Deliverer(single_pass=True).step() == 1
    return AlertDelivery.objects.get()


@pytest.mark.parametrize(("state", "kind"), [("firing", "failure"), ("resolved", "success")])
def test_notification(channels, receiver, state, kind):
    receiver.status = 200
    channels(chat=channel(receiver))
    message = make_message("chat", state=state)
    assert deliver().delivered_at
    ((path, _headers, body),) = receiver.requests
    assert path == "/token-of-a-service/"
    data = json.loads(body)
    assert data["title"] == f"{state.title()}: failures, 1 alert"
    assert "* abc: Job abc <b>failed</b>." in data["message"]
    assert str(message.pk) in data["message"]
    assert data["type"] == kind


def test_one_service_fails(channels, receiver, caplog):
    caplog.set_level(0)
    dead, receiver.status = Receiver(), 200
    channels(chat=channel(dead, receiver))
    make_message("chat")
    delivery = deliver()
    assert delivery.next_at
    assert delivery.error.startswith("Apprise: ")
    assert "JSON" in delivery.error
    assert len(receiver.requests) == 1
    for secret in ("password-of-anna", "token-of-a-service", "header-key", "anna"):
        assert secret not in delivery.error + caplog.text


def test_error_of_a_service(channels, receiver, caplog):
    caplog.set_level(0)
    receiver.status = 500
    channels(chat=channel(receiver))
    make_message("chat")
    assert "500" in deliver().error
    assert "token-of-a-service" not in caplog.text
