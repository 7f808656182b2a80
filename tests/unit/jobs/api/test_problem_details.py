"""The problems of errors, which the API and the sockets share."""

from typing import Any

import pytest
from rest_framework.exceptions import ValidationError

from events import exceptions as log
from jobs import exceptions as jobs
from jobs.api.problem_details import problem_of
from tests.support.database import ERRORS

ADDRESS = "redis.internal:6379"


@pytest.mark.parametrize(
    ("error", "status", "problem_type", "detail"),
    [
        (log.InvalidCursor("Given: x."), 400, "invalid", "Given: x."),
        (ValidationError({"speed": ["Given: x."]}), 400, "invalid", "speed: Given: x."),
        (jobs.InvalidJob("title", "Given: x."), 400, "invalid", "title: Given: x."),
        (jobs.InvalidTicket("Old."), 403, "not-authenticated", "Old."),
        (jobs.JobNotFound("No."), 404, "not-found", "No."),
        (log.LogDeleted(ADDRESS), 404, "not-found", "The job_id is not available."),
        (log.NotAStream("No."), 409, "conflict", "No."),
        (jobs.BadMessage("Bad."), 409, "conflict", "Bad."),
        (jobs.TooOften(3), 429, "throttled", "Rate limit exceeded. Retry in 3 seconds."),
    ],
)
def test_problem(error: Exception, status: int, problem_type: str, detail: str) -> None:
    found = problem_of(error)
    expected = {"type": f"urn:job-events:{problem_type}", "status": status, "detail": detail}
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    "error",
    [
        log.RedisUnavailable(f"Redis did not answer: {ADDRESS}"),
        log.RedisCommandError(f"Redis refused 'XADD': MOVED 1 {ADDRESS}"),
        log.EventsError(ADDRESS),
        jobs.RunnerNotFound("The runner 'internal.run' cannot be imported."),
        *ERRORS,
    ],
    ids=lambda error: type(error).__name__,
)
def test_details_of_a_failure_are_in_the_log_only(error: Exception, caplog: Any) -> None:
    found = problem_of(error)
    assert (found["type"], found["status"]) == ("urn:job-events:unavailable", 503)
    assert "internal" not in str(found)
    (record,) = [each for each in caplog.records if each.message == "request_failed"]
    assert "internal" in record.error
