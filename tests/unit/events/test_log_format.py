"""Log lines: key-value pairs, redaction, summaries of errors."""

import logging

from events.log_format import KeyValueFormatter, summarize_error


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


class BrokenError(Exception):
    def __str__(self):
        raise ZeroDivisionError


def test_summary_of_an_error_is_one_short_line():
    assert summarize_error(ValueError("a\nb")) == "ValueError: a"
    assert summarize_error(ValueError()) == "ValueError: "
    assert summarize_error(BrokenError()) == "BrokenError: "
    assert len(summarize_error(ValueError("x" * 5000))) == 300
    assert "\0" not in summarize_error(ValueError("a\0b"))
