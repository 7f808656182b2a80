"""`manage.py serve_metrics` and `process_events --metrics-port`: what prevents them."""

import socket
from contextlib import closing

import pytest
from django.core.management import CommandError, call_command

from events.management import metrics

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def occupied_port():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


def test_processes_must_share_a_directory(monkeypatch):
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    with pytest.raises(CommandError, match="PROMETHEUS_MULTIPROC_DIR"):
        call_command("serve_metrics", port=0)


def test_port_that_is_not_free(monkeypatch, tmp_path, occupied_port):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    message = f"cannot be served on 127.0.0.1:{occupied_port}"
    with pytest.raises(CommandError, match=message):
        call_command("serve_metrics", port=occupied_port)
    with pytest.raises(CommandError, match=message):
        call_command("process_events", metrics_port=occupied_port)


@pytest.mark.parametrize("address", ["192.0.2.1", "no.such.host.invalid"])
def test_address_of_another_host(address):
    with pytest.raises(CommandError, match="cannot be served"):
        call_command("process_events", metrics_port=0, metrics_address=address)


@pytest.mark.parametrize("mode", ["once", "status"])
def test_process_that_ends(mode):
    with pytest.raises(CommandError, match="until a signal"):
        call_command("process_events", metrics_port=0, **{mode: True})


def test_without_the_extra(monkeypatch):
    monkeypatch.setattr(metrics, "is_available", lambda: False)
    with pytest.raises(CommandError, match=r"job-events\[metrics\]"):
        call_command("process_events", metrics_port=0)
