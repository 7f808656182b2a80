"""Deliveries of alert messages: channels are independent, retries, what is given up."""

import asyncio
import logging
from datetime import timedelta
from threading import Event as Flag

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from events.database import database_now
from jobs.alerts import deliverer
from jobs.alerts.deliverer import MAX_ATTEMPTS, RETRY_SECONDS, Deliverer
from jobs.models import AlertDelivery
from jobs.monitoring.deliveries import delivery_failures
from jobs.signals import alert_changed
from tests.integration.jobs.alerts.receivers import Receiver, make_due, make_message, until
from tests.integration.jobs.test_plans import plans

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture(autouse=True)
def _no_interval(monkeypatch):
    monkeypatch.setattr(deliverer, "_INTERVAL_SECONDS", 0.0)


@pytest.fixture
def received():
    """Messages that a receiver of the signal got; it raises what is in `received.errors`."""

    class Received(list):
        def __init__(self):
            self.errors = []

    got = Received()

    def receive(message, message_id, **kwargs):
        got.append((message_id, message.body["alerts"][0]["summary"]))
        if got.errors:
            raise got.errors.pop()

    alert_changed.connect(receive)
    yield got
    alert_changed.disconnect(receive)


def deliver():
    return Deliverer(single_pass=True).step()


def test_message_to_all_channels(channels, receiver, received):
    channels(hook=receiver.channel())
    message, before = make_message(), database_now()
    assert deliver() == 2
    assert received == [(str(message.pk), "Job abc <b>failed</b>.")]
    assert receiver.ids == [str(message.pk)]
    for delivery in AlertDelivery.objects.all():
        assert (delivery.attempts, delivery.next_at, delivery.error) == (1, None, "")
        assert before <= delivery.delivered_at <= database_now()
    assert deliver() == 0


def test_nothing_to_deliver_costs_one_query(channels):
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert deliver() == 0
    assert len(queries) == 1


def test_queries_use_the_index_of_open_deliveries(channels):
    message = make_message("signal")
    rows = [
        AlertDelivery(message=message, channel=f"c{number}", delivered_at=database_now())
        for number in range(3000)
    ]
    AlertDelivery.objects.bulk_create(rows)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    with CaptureQueriesContext(connection) as queries:
        assert deliverer.claim_delivery("signal")
        Deliverer().step()
        delivery_failures()
    found = [plan for sql, plan in plans(queries.captured_queries) if "alertdelivery" in sql]
    assert len(found) == 3
    for plan in found:
        assert "job_events_deliveries_open" in plan


def test_interval(monkeypatch):
    monkeypatch.setattr(deliverer, "_INTERVAL_SECONDS", 60.0)
    step = Deliverer().step
    step()
    with CaptureQueriesContext(connection) as queries:
        assert step() == 0
    assert len(queries) == 0


def test_single_pass_of_the_command(channels, receiver):
    channels(hook=receiver.channel())
    message = make_message("hook")
    call_command("process_events", once=True)
    assert receiver.ids == [str(message.pk)]


def test_other_receivers_of_a_signal_that_fails(received):
    def fail(**kwargs):
        if len(received) < 1:
            raise ValueError("not yet")

    alert_changed.connect(fail)
    try:
        message = make_message("signal")
        received.errors = [KeyError("later")]
        deliver()
        assert AlertDelivery.objects.get().error
        make_due()
        deliver()
    finally:
        alert_changed.disconnect(fail)
    assert [message_id for message_id, _ in received] == [str(message.pk)] * 2
    assert AlertDelivery.objects.get().delivered_at


def test_retries_until_given_up(channels, receiver, caplog):
    channels(hook=receiver.channel())
    receiver.status = 500
    message = make_message("hook")
    for attempt, seconds in enumerate(RETRY_SECONDS, 1):
        before = database_now()
        deliver()
        delivery = AlertDelivery.objects.get()
        assert delivery.attempts == attempt
        assert delivery.error == "The receiver responds with HTTP 500."
        shortest, longest = timedelta(seconds=0.8 * seconds), timedelta(seconds=1.2 * seconds)
        assert before + shortest <= delivery.next_at <= database_now() + longest
        assert deliver() == 0
        make_due()
    deliver()
    delivery = AlertDelivery.objects.get()
    assert (delivery.attempts, delivery.next_at, delivery.delivered_at) == (11, None, None)
    assert receiver.ids == [str(message.pk)] * MAX_ATTEMPTS
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.message == "alert_delivery_given_up"
    assert (record.channel, record.attempt) == ("hook", 11)
    assert sum(RETRY_SECONDS) > 24 * 3600


def test_receiver_that_is_gone(channels, receiver):
    channels(hook=receiver.channel())
    receiver.status = 410
    make_message("hook")
    deliver()
    delivery = AlertDelivery.objects.get()
    assert (delivery.attempts, delivery.next_at, delivery.delivered_at) == (1, None, None)
    assert "no messages any more" in delivery.error


def test_channel_that_is_not_configured(channels, receiver):
    channels(other={"kind": "webhook"})
    make_message("hook", "other")
    deliver()
    hook, other = AlertDelivery.objects.order_by("channel")
    assert hook.error == "ALERT_CHANNELS has no channel 'hook'."
    assert "The channel 'other' has no `url`" in other.error
    channels(hook=receiver.channel())
    make_due()
    deliver()
    assert AlertDelivery.objects.get(channel="hook").delivered_at


def test_last_attempt_that_was_interrupted(channels, receiver):
    channels(hook=receiver.channel())
    make_message("hook")
    AlertDelivery.objects.update(attempts=MAX_ATTEMPTS, error="The attempt has not ended.")
    deliver()
    assert AlertDelivery.objects.get().next_at is None
    assert receiver.requests == []


def test_slow_channels_delay_no_other(channels, receiver, smtp):
    arrived, release = Flag(), Flag()

    class Slow:
        async def handle_EHLO(self, server, session, envelope, hostname, responses):  # noqa: N802
            arrived.set()
            await asyncio.to_thread(release.wait, 15)
            session.host_name = hostname
            return responses

    smtp(Slow())
    dead = Receiver(respond=lambda connection: release.wait(15))
    channels(
        ops={"kind": "email", "to": ["ops@example.org"]},
        dead=dead.channel(),
        hook=receiver.channel(),
    )
    loop = Deliverer()
    with dead.running():
        first = make_message()
        assert loop.step() == 4
        until(lambda: receiver.ids == [str(first.pk)])
        assert arrived.wait(5)
        second = make_message("ops", "hook")
        until(lambda: loop.step() >= 0 and receiver.ids == [str(first.pk), str(second.pk)])
        ops = AlertDelivery.objects.filter(channel="ops").order_by("pk")
        assert [each.attempts for each in ops] == [1, 0]
        assert len(loop._threads["ops"]) == 1
        release.set()
        _join(loop)
    # The thread of the channel has delivered both.
    assert all(each.delivered_at for each in ops.all())


def test_attempt_that_hangs_is_repeated(channels, receiver, monkeypatch):
    monkeypatch.setattr(deliverer, "ATTEMPT_SECONDS", 0.3)
    release, calls = Flag(), []

    def hang(message_id, **kwargs):
        calls.append(message_id)
        release.wait(20)

    alert_changed.connect(hang)
    try:
        message = make_message("signal")
        loop = Deliverer()
        until(lambda: loop.step() is not None and len(calls) == 5)
        assert loop.step() == 0  # no further threads
        assert calls == [str(message.pk)] * 5
        assert AlertDelivery.objects.get().error == "The attempt has not ended."
    finally:
        release.set()
        _join(loop)
        alert_changed.disconnect(hang)
    # An attempt that ends late has delivered the message.
    assert AlertDelivery.objects.get().delivered_at


@pytest.mark.timeout(30, func_only=True)
def test_single_pass_does_not_wait_for_channels_that_hang(channels, monkeypatch):
    monkeypatch.setattr(deliverer, "ATTEMPT_SECONDS", 2.0)
    release = Flag()
    dead = Receiver(respond=lambda connection: release.wait())
    channels(a=dead.channel(), b=dead.channel(), c=dead.channel())
    make_message("a", "b", "c")
    loop = Deliverer(single_pass=True)
    with dead.running():
        assert loop.step() == 3
        release.set()
        _join(loop)


def test_database_failure_in_a_thread(channels, receiver, monkeypatch, caplog):
    def fail(channel):
        raise OperationalError("down")

    channels(hook=receiver.channel())
    make_message("hook")
    with monkeypatch.context() as patch:
        patch.setattr(deliverer, "claim_delivery", fail)
        deliver()
    assert "alert_delivery_interrupted" in caplog.messages
    deliver()
    assert AlertDelivery.objects.get().delivered_at


def _join(loop):
    for threads in loop._threads.values():
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
