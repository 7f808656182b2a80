"""Log lines: key-value pairs, redaction, summaries of errors, rate limit."""

import logging

import pytest
from django.db import OperationalError

from events import log_format
from events.exceptions import RedisUnavailable
from events.log_format import (
    KeyValueFormatter,
    LineHandler,
    RateLimit,
    TicketFilter,
    log_failure,
    summarize_error,
)


def line(message, **extra):
    record = logging.makeLogRecord({"msg": message, "levelname": "INFO", "name": "jobs", **extra})
    return KeyValueFormatter("{levelname} {name} {message}", style="{").format(record)


def test_extra_fields_follow_the_message():
    found = line("job_dispatched", job_id="abc", task_type="x")
    assert found == "INFO jobs job_dispatched job_id='abc' task_type='x'"


def test_line_break_in_a_value_is_escaped():
    assert "\n" not in line("job_dispatched", job_id="a\nERROR forged")


def test_message_without_extra_fields():
    assert line("started") == "INFO jobs started"


def test_secrets_are_redacted():
    """This applies to the message, extra fields and tracebacks."""
    error = ConnectionError("redis://:hunter2@cache")
    error.__cause__ = KeyError("token=hunter2")
    exc_info = (type(error), error, None)
    found = line("password=hunter2", kwargs={"api_key": "hunter2"}, exc_info=exc_info)
    assert "ConnectionError: redis://[redacted]@cache" in found
    assert "hunter2" not in found


def filtered(msg, *args):
    record = logging.LogRecord("uvicorn.access", logging.INFO, "", 0, msg, args, None)
    assert TicketFilter().filter(record)
    return record


def test_tickets_are_removed_from_urls():
    """The arguments keep their number and their types: uvicorn's formatter unpacks them."""
    record = filtered('"%s %s HTTP/%s" %d', "GET", "/a/?b=1&ticket=x:y&c=2", "1", 200)
    assert record.args == ("GET", "/a/?b=1&ticket=[redacted]&c=2", "1", 200)
    assert filtered('GET "/a/?ticket=x:y" 200').getMessage() == 'GET "/a/?ticket=[redacted]" 200'
    assert filtered("a ticket=x, not a URL").getMessage() == "a ticket=x, not a URL"
    assert filtered("%(a)s", {"a": 1}).getMessage() == "1"
    assert filtered(ValueError("x")).getMessage() == "x"


class BrokenError(Exception):
    def __str__(self):
        raise ZeroDivisionError


def test_summary_of_an_error_is_one_short_line():
    assert summarize_error(ValueError("a\nb")) == "ValueError: a"
    assert summarize_error(ValueError()) == "ValueError: "
    assert summarize_error(BrokenError()) == "BrokenError: "
    assert len(summarize_error(ValueError("x" * 5000))) == 300
    assert "\0" not in summarize_error(ValueError("a\0b"))


@pytest.fixture
def limited(monkeypatch):
    """A logger with a limit of three lines a minute, its lines, and a function that waits."""
    now = [0.0]
    monkeypatch.setattr(log_format, "monotonic", lambda: now[0])
    lines = []
    handler = LineHandler(lines.append)
    handler.setFormatter(KeyValueFormatter("{name} {message}", style="{"))
    handler.filters = [RateLimit(lines=3)]
    loggers = [logging.getLogger(name) for name in ("tests.limited", "events.log_format")]
    for each in loggers:
        each.addHandler(handler)
        each.setLevel(logging.INFO)
    yield loggers[0], lines, lambda seconds: now.__setitem__(0, now[0] + seconds)
    for each in loggers:
        each.removeHandler(handler)
        each.setLevel(logging.NOTSET)


def test_further_lines_of_a_message_are_counted(limited):
    logger, lines, wait = limited
    for number in range(10):
        logger.warning("query_failed", extra={"number": number})
    logger.error("other_failed")
    assert lines == [
        *[f"tests.limited query_failed number={number}" for number in range(3)],
        "tests.limited other_failed",
    ]
    lines.clear()
    wait(60)
    logger.info("running")
    assert lines == [
        "events.log_format log_lines_suppressed event='query_failed' lines=7 of='tests.limited'",
        "tests.limited running",
    ]
    logger.warning("query_failed")
    assert len(lines) == 3


def test_information_is_not_limited(limited):
    logger, lines, _ = limited
    for _ in range(50):
        logger.info("job_dispatched")
    assert len(lines) == 50


def test_messages_with_data_use_bounded_memory(limited, monkeypatch):
    logger, lines, wait = limited
    monkeypatch.setattr(log_format, "_MAX_PERIODS", 5)
    for number in range(100):
        logger.warning(f"request {number} failed")  # noqa: G004
    assert len(lines) == 5 + 3
    lines.clear()
    wait(60)
    logger.info("running")
    assert "lines=92" in lines[0]


@pytest.mark.parametrize(
    ("error", "has_traceback"),
    [(RedisUnavailable(), False), (OperationalError("locked"), False), (ValueError("a\nb"), True)],
)
def test_expected_failure_is_one_line(caplog, error, has_traceback):
    log_failure(logging.getLogger("tests"), "query_failed", error, job_id="abc")
    (record,) = [each for each in caplog.records if each.name == "tests"]
    assert (record.message, record.job_id) == ("query_failed", "abc")
    assert record.error == summarize_error(error)
    assert bool(record.exc_info) == has_traceback
