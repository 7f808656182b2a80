"""The model of the browser for logs of a real Celery worker."""

import pytest

from tests.support.browser_model import NODE, model_of, outline

pytestmark = [pytest.mark.skipif(NODE is None, reason="needs node"), pytest.mark.extended]


def model(workers, job_id):
    row = workers.finished(job_id)
    events = workers.api.get(f"/api/jobs/{job_id}/events/", params={"limit": 1000}).json()
    return model_of(events["results"], row)


def test_chain_that_fails(workers):
    facts = model(workers, workers.job("chain_fails"))
    assert outline(facts) == [
        "task link[1] done", "  event linked done", "task link[2] failed", "  event linked done",
    ]  # fmt: skip
    assert [row["name"] for row in facts["spans"]["1"] if row["isFatal"]] == ["link[2]"]
    assert (facts["status"], facts["handledErrors"]) == ("failed", 0)
    assert facts["fatal"]["message"] == facts["attempts"][0]["error"] != ""
    assert 0 <= facts["queueSeconds"] < 30


def test_retries(workers):
    facts = model(workers, workers.job("tries_again"))
    lines = outline(facts)
    assert lines == [
        "task tries_again[1] retry", "task tries_again[2] retry", "task tries_again[3] done",
    ]  # fmt: skip
    assert (facts["status"], facts["handledErrors"], facts["fatal"]) == ("completed", 2, None)
    assert facts["retries"] == 2
    assert "@" in facts["worker"]  # celery@host, or the second worker of another test
