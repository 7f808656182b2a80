"""Fixtures of the tests of the site."""

import pytest

from tests.support.site import Site


@pytest.fixture
def job_id(site: Site) -> str:
    """A job of anna without a worker: the test publishes its events."""
    with site.client("anna") as client:
        response = client.post("/api/jobs/", json={"task_type": "by_hand"})
    response.raise_for_status()
    return str(response.json()["job_id"])
