"""Processors that deliver at the same time, and processors that are killed."""

import json
import os
import signal
import subprocess
import sys
from time import sleep

import pytest
from django.db import connection

from jobs.alerts.deliverer import Deliverer
from jobs.models import AlertDelivery
from tests.integration.jobs.alerts.receivers import make_due, make_message, until
from tests.support.site import ROOT

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

# Delivers what is due; `kill` is a function of a module, at whose call the process is killed.
PROCESSOR = """
import json, os, signal, sys
import django
django.setup()
from django.conf import settings
from django.db import connection
from jobs.alerts import deliverer

database, channels, kill, seconds = json.loads(sys.argv[1])
connection.settings_dict["NAME"] = database
settings.JOB_EVENTS = {**settings.JOB_EVENTS, "ALERT_CHANNELS": channels}
deliverer.ATTEMPT_SECONDS = seconds

def die(*arguments, **keywords):
    os.kill(os.getpid(), signal.SIGKILL)

if kill == "before":
    deliverer.open_channel = die
elif kill == "after":
    deliverer.database_now = lambda real=deliverer.database_now: (
        die() if sys._getframe(1).f_code.co_name == "deliver" else real()
    )
sys.stdin.readline()
deliverer.Deliverer(single_pass=True).step()
"""


@pytest.fixture
def processor():
    """Start a process that delivers what is due once it receives a line."""
    processes = []

    def start(channels, kill="", seconds=120.0):
        arguments = json.dumps([connection.settings_dict["NAME"], channels, kill, seconds])
        process = subprocess.Popen(
            [sys.executable, "-c", PROCESSOR, arguments],
            cwd=ROOT,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.support.settings"},
            stdin=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def proceed(*processes):
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()


@pytest.mark.parametrize(("kill", "count"), [("before", 1), ("after", 2)])
def test_killed_processor(settings, channels, receiver, processor, kill, count):
    channels(hook=receiver.channel())
    message = make_message("hook")
    killed = processor({"hook": receiver.channel()}, kill, 2.0)
    proceed(killed)
    assert killed.wait(30) == -signal.SIGKILL
    delivery = AlertDelivery.objects.get()
    assert (delivery.attempts, delivery.delivered_at) == (1, None)
    assert delivery.error == "The attempt has not ended."
    step = Deliverer(single_pass=True).step
    until(lambda: step() or sleep(0.2))
    assert receiver.ids == [str(message.pk)] * count
    delivery = AlertDelivery.objects.get()
    assert (delivery.attempts, delivery.error) == (2, "")
    assert delivery.delivered_at


def test_two_processors_deliver_each_message_once(channels, receiver, processor):
    config = {name: receiver.channel() for name in ("a", "b", "c")}
    messages = [make_message("a", "b", "c") for _ in range(15)]
    processes = [processor(config) for _ in range(2)]
    make_due()
    proceed(*processes)
    assert [process.wait(60) for process in processes] == [0, 0]
    assert sorted(receiver.ids) == sorted(3 * [str(message.pk) for message in messages])
    assert set(AlertDelivery.objects.values_list("attempts", flat=True)) == {1}
