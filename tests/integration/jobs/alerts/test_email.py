"""Alert messages as e-mail, received by an SMTP server."""

import asyncio
from email import message_from_bytes, policy

import pytest
from django.core import mail

from jobs.alerts.channels import email
from jobs.alerts.deliverer import Deliverer
from jobs.models import AlertDelivery
from tests.integration.jobs.alerts.receivers import (
    ALERTS,
    Mailbox,
    make_due,
    make_message,
    use_backend,
)
from tests.support.site import free_port

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _channel(channels):
    channels(ops={"kind": "email", "to": ["Ops <ops@example.org>", "dev@example.org"]})


def deliver():
    assert Deliverer(single_pass=True).step() == 1
    return AlertDelivery.objects.get()


def parsed(content):
    return message_from_bytes(content, policy=policy.default)


def test_message(smtp):
    mailbox = smtp(Mailbox())
    alerts = [*ALERTS, {**ALERTS[0], "subject": "def", "summary": "Größe & <i>", "url": ""}]
    message = make_message("ops", rule="failures", count=1000, firing=1200, alerts=alerts)
    assert deliver().delivered_at
    (content,) = mailbox.contents
    received = parsed(content)
    assert received["Subject"] == "Firing: failures, 1000 alerts"
    assert received["From"] == "Jobs <jobs@example.org>"
    assert received["To"] == "Ops <ops@example.org>, dev@example.org"
    assert received["Message-ID"] == f"<{message.pk}@example.org>"
    assert received["Auto-Submitted"] == "auto-generated"
    assert received.get_content_type() == "text/plain"
    assert received.get_content().replace("\r\n", "\n") == (
        f"""\
Firing: failures (failure_rate), 1000 alerts

* abc: Job abc <b>failed</b>.
  Since 2026-11-26T10:00:00+00:00
  https://jobs.example.org/jobs/job/abc/

* def: Größe & <i>
  Since 2026-11-26T10:00:00+00:00

And 998 more alerts.

Alerts of this rule that are firing: 1200
Monitor: https://jobs.example.org/jobs/monitor/
Message: {message.pk}
"""
    )


def test_resolved(smtp):
    mailbox = smtp(Mailbox())
    make_message("ops", state="resolved", rule="line\nbreak")
    deliver()
    assert parsed(mailbox.contents[0])["Subject"] == "Resolved: line break, 1 alert"


def test_message_id_is_the_same_in_each_attempt(smtp):
    class Busy(Mailbox):
        async def handle_DATA(self, server, session, envelope):  # noqa: N802
            await super().handle_DATA(server, session, envelope)
            return "451 try again" if len(self.contents) == 1 else "250 OK"

    mailbox = smtp(Busy())
    make_message("ops")
    assert "451" in deliver().error
    make_due()
    assert deliver().delivered_at
    first, second = (parsed(content)["Message-ID"] for content in mailbox.contents)
    assert first == second


def test_sender_of_the_channel(smtp, channels):
    channels(ops={"kind": "email", "to": ["ops@example.org"], "from": "Alerts <a@alerts.test>"})
    mailbox = smtp(Mailbox())
    message = make_message("ops")
    deliver()
    received = parsed(mailbox.contents[0])
    assert received["From"] == "Alerts <a@alerts.test>"
    assert received["Message-ID"] == f"<{message.pk}@alerts.test>"


def test_server_that_is_down(settings):
    use_backend(settings, "smtp", host="127.0.0.1", port=free_port())
    make_message("ops")
    assert "Connection refused" in deliver().error


def test_timeout(smtp, monkeypatch):
    class Slow(Mailbox):
        async def handle_DATA(self, server, session, envelope):  # noqa: N802
            await asyncio.sleep(2)
            return "250 OK"

    monkeypatch.setattr(email, "_TIMEOUT_SECONDS", 0.2)
    smtp(Slow())
    make_message("ops")
    assert "timed out" in deliver().error


def test_timeout_of_the_project(settings):
    use_backend(settings, "smtp", host="127.0.0.1")
    assert email._connection().timeout == 20
    use_backend(settings, "smtp", host="127.0.0.1", timeout=5)
    assert email._connection().timeout == 5


def test_other_backend(settings):
    use_backend(settings, "locmem")
    message = make_message("ops")
    assert deliver().delivered_at
    assert mail.outbox[0].extra_headers["Message-ID"].startswith(f"<{message.pk}@")


def test_error_contains_no_password(smtp, caplog):
    class Refusing(Mailbox):
        async def handle_MAIL(self, server, session, envelope, address, options):  # noqa: N802
            return "550 correct horse is not accepted"

    caplog.set_level(0)
    smtp(Refusing(), password="correct horse")
    make_message("ops")
    error = deliver().error
    assert "550" in error
    assert "is not accepted" in error
    logged = [each.getMessage() for each in caplog.records if each.name != "mail.log"]
    assert "correct horse" not in " ".join([error, *logged])
