"""Fixtures: a stage for evaluations, and servers that receive alert messages."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from tests.integration.jobs.alerts.receivers import Mailbox, Receiver, use_backend
from tests.integration.jobs.alerts.support import Stage
from tests.support.site import free_port


@pytest.fixture
def stage(db: None, monkeypatch: Any, settings: Any) -> Stage:
    stage = Stage(monkeypatch, settings)
    stage.configure(ALERT_GROUP_WAIT=30, ALERT_GROUP_INTERVAL=300)
    stage.rule()
    return stage


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    with receiver.running():
        yield receiver


@pytest.fixture
def smtp(settings: Any) -> Iterator[Callable[..., Mailbox]]:
    """Start an SMTP server with a handler, and select it in the settings."""
    with ExitStack() as servers:

        def start(handler: Any, **options: Any) -> Any:
            port = free_port()
            use_backend(settings, "smtp", host="127.0.0.1", port=port, **options)
            settings.DEFAULT_FROM_EMAIL = "Jobs <jobs@example.org>"
            controller = Controller(handler, "127.0.0.1", port)
            controller.start()
            servers.callback(controller.stop, no_assert=True)
            return handler

        yield start


@pytest.fixture
def channels(settings: Any) -> Callable[..., None]:
    """Sets ALERT_CHANNELS."""

    def configure(**channels: Any) -> None:
        settings.JOB_EVENTS = {**settings.JOB_EVENTS, "ALERT_CHANNELS": channels}

    return configure
