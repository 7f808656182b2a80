from typing import Any

import pytest

from tests.integration.jobs.alerts.support import Stage


@pytest.fixture
def stage(db: None, monkeypatch: Any, settings: Any) -> Stage:
    stage = Stage(monkeypatch, settings)
    stage.configure(ALERT_GROUP_WAIT=30, ALERT_GROUP_INTERVAL=300)
    stage.rule()
    return stage
