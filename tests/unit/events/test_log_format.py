"""The site's log lines."""

import logging

from events.log_format import KeyValueFormatter


def line(message, **extra):
    record = logging.makeLogRecord({"msg": message, "levelname": "INFO", "name": "jobs", **extra})
    return KeyValueFormatter("{levelname} {name} {message}", style="{").format(record)


def test_what_an_event_is_about_stands_behind_its_name():
    found = line("job_dispatched", job_id="abc", task_type="x")
    assert found == "INFO jobs job_dispatched job_id='abc' task_type='x'"


def test_a_line_break_in_a_value_starts_no_line():
    assert "\n" not in line("job_dispatched", job_id="a\nERROR forged")


def test_a_message_without_more():
    assert line("started") == "INFO jobs started"


def test_secrets_are_not_logged():
    """Neither in a message, nor in what it is about, nor in a traceback."""
    error = ConnectionError("redis://:hunter2@cache")
    error.__cause__ = KeyError("token=hunter2")
    exc_info = (type(error), error, None)
    found = line("password=hunter2", kwargs={"api_key": "hunter2"}, exc_info=exc_info)
    assert "ConnectionError: redis://[redacted]@cache" in found
    assert "hunter2" not in found
