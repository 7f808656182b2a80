import asyncio
import re
import traceback
from types import SimpleNamespace

import pytest
from billiard.einfo import ExceptionInfo, ExceptionWithTraceback, RemoteTraceback, rebuild_exc
from celery.exceptions import Retry
from celery.utils.serialization import UnpickleableExceptionWrapper
from pydantic import BaseModel

from events.error_report import (
    MAX_ERROR_CHARACTERS,
    error_message,
    error_traceback,
    error_type,
    message_of_traceback,
    shortened_error,
)


def refuse():
    raise ConnectionRefusedError("tool server refused the connection")


def raised(function, *arguments):
    try:
        function(*arguments)
    except Exception as error:  # noqa: BLE001 - of any type
        return error
    raise AssertionError


async def together():
    async def fail(error):
        raise error

    async with asyncio.TaskGroup() as group:
        group.create_task(fail(ValueError("no ink")))
        group.create_task(fail(ConnectionRefusedError("refused")))


def test_group_lists_its_leaf_errors():
    error = raised(asyncio.run, together())
    assert error_message(error) == (
        "unhandled errors in a TaskGroup (2 sub-exceptions): ValueError: no ink;"
        " ConnectionRefusedError: refused"
    )
    trace = error_traceback(error)
    assert "Sub-exception ConnectionRefusedError: refused" in trace
    assert trace.count("in fail") == 2


def test_groups_within_groups():
    inner = ExceptionGroup("inner", [ValueError("a"), ExceptionGroup("in", [KeyError("b")])])
    outer = BaseExceptionGroup("outer", [inner, asyncio.CancelledError()])
    text = "outer (2 sub-exceptions): ValueError: a; KeyError: 'b'; CancelledError"
    assert error_message(outer) == text
    many = ExceptionGroup("many", [ValueError(str(n)) for n in range(50)])
    assert error_message(many).endswith("ValueError: 9; 40 more")
    deep = ValueError("deepest")
    for _ in range(3000):
        deep = ExceptionGroup("g", [deep])
    assert error_message(deep) == "g (1 sub-exception): ValueError: deepest"
    assert "deepest" in error_traceback(deep)


def test_long_leaf_hides_no_other():
    error = ExceptionGroup("both", [ValueError("x" * 50_000), KeyError("b")])
    assert error_message(error).endswith("KeyError: 'b'")
    secret = ExceptionGroup("one", [ValueError("a " * 490 + "password: hunter2-hunter2-hunter2")])
    assert "hunter2" not in error_message(secret)


def test_causes_and_notes():
    try:
        try:
            refuse()
        except OSError as cause:
            error = RuntimeError("step failed")
            error.add_note("in row 7")
            error.add_note("During task with name 'n' and id '4b86'")  # of LangGraph
            raise error from cause
    except RuntimeError as caught:
        error = caught
    assert error_message(error) == "step failed\nin row 7"
    assert error_message(error, with_causes=True) == (
        "step failed\nin row 7 (caused by ConnectionRefusedError:"
        " tool server refused the connection)"
    )
    trace = error_traceback(error)
    assert "Caused by ConnectionRefusedError: tool server refused the connection" in trace
    assert "in refuse" in trace


def test_context_is_in_the_traceback_only():
    def handle():
        try:
            refuse()
        except OSError:
            raise KeyError("oops")  # noqa: B904 - an error in the handler

    def hide():
        try:
            refuse()
        except OSError:
            raise KeyError("oops") from None

    error = raised(handle)
    assert (error_message(error, with_causes=True), "refused" in error_traceback(error)) == (
        "'oops'",
        True,
    )
    assert "refused" not in error_traceback(raised(hide))


def test_cause_with_the_same_message_is_not_repeated():
    error = RuntimeError("database is locked")
    error.__cause__ = ValueError("database is locked")
    assert error_message(error, with_causes=True) == "database is locked"


def test_cycle_of_causes():
    first, second = ValueError("a"), KeyError("b")
    first.__cause__, second.__cause__ = second, first
    assert error_message(first, with_causes=True) == "a (caused by KeyError: 'b')"
    assert error_traceback(first) == "Caused by KeyError: 'b'"


def test_group_that_is_the_cause_of_its_leaf():
    leaf = ValueError("inner")
    leaf.__cause__ = group = ExceptionGroup("outer", [leaf])
    assert error_message(group, with_causes=True).startswith("outer (1 sub-exception): ValueError")
    assert "inner" in error_message(group, with_causes=True)
    assert "inner" in error_traceback(group)


def test_error_without_text_that_has_a_cause():
    error = TimeoutError()
    error.__cause__ = KeyError("a")
    expected = "TimeoutError (caused by KeyError: 'a')"
    assert error_message(error, with_causes=True) == expected
    group = error_message(ExceptionGroup("g", [error]), with_causes=True)
    assert group.endswith("TimeoutError: (caused by KeyError: 'a')")


class Delegating(Exception):
    def __getattr__(self, name):
        return getattr(self.response, name)


class Looking(Exception):
    def __getattr__(self, name):
        return self.args[0][name]


class Wrapping(Exception):
    @property
    def exc(self):
        raise RuntimeError("no inner error")


@pytest.mark.parametrize("kind", [Delegating, Looking, Wrapping])
def test_error_whose_attributes_raise(kind):
    error = kind({"a": 1})
    assert error_message(error) == "{'a': 1}"
    assert error_type(error) == kind.__name__
    assert "{'a': 1}" in error_message(ExceptionGroup("g", [error]))
    caused = ValueError("b")
    caused.__cause__ = error
    assert "Caused by" in error_traceback(caused)


class WithoutText(Exception):
    def __str__(self):
        raise RuntimeError

    __repr__ = __str__


def test_error_without_text():
    group = ExceptionGroup("g", [WithoutText()])
    assert error_message(WithoutText()) == ""
    assert error_message(group) == "g (1 sub-exception): WithoutText"
    error = ValueError("a")
    error.__cause__ = WithoutText()
    error.__notes__ = [WithoutText(), 5]
    assert error_message(error, with_causes=True) == "a\n5 (caused by WithoutText)"


def test_wrappers_of_celery():
    error = raised(refuse)
    info = ExceptionInfo((type(error), error, error.__traceback__))
    wrapped = ExceptionWithTraceback(error, "remote frames")
    wrapper = UnpickleableExceptionWrapper("shop", "PaymentError", ("declined",), "declined")
    nameless = UnpickleableExceptionWrapper("shop", "PaymentError", ("declined",))
    for each in (info, wrapped, info.exception, Retry("later", error), Retry(exc=wrapped)):
        assert error_message(each) == "tool server refused the connection"
        assert error_type(each) == "ConnectionRefusedError"
    assert (error_type(wrapper), error_message(wrapper)) == ("PaymentError", "declined")
    assert "declined" in error_message(nameless)
    remote = rebuild_exc(ValueError("no ink"), 'File "a.py", line 1, in work')
    assert isinstance(remote.__cause__, RemoteTraceback)
    assert error_message(remote, with_causes=True) == "no ink"
    assert error_traceback(remote) == 'In another process:\nFile "a.py", line 1, in work'
    assert error_message(Retry("at noon")) == "at noon"


def test_errors_of_other_packages():
    class Model(BaseModel):
        age: int

    class ValidationError(Exception):
        errors = "no number"

    class Odd(Exception):
        @property
        def errors(self):
            raise RuntimeError

    error = raised(lambda: Model(age="hunter2"))
    assert re.fullmatch(r"age: Input should be a valid integer.*", error_message(error))
    assert error_message(ValidationError("no")) == "no"
    assert error_message(Odd("no")) == "no"
    response = RuntimeError("no")
    response.exc = SimpleNamespace()
    assert error_message(response) == "no"


@pytest.mark.parametrize("value", ["text", None, 5, WithoutText])
def test_message_of_another_value(value):
    assert error_message(value) == str(value)


def text_of(error):
    return "".join(traceback.format_exception(raised(rethrow, error)))


def rethrow(error):
    raise error


def test_message_of_a_traceback():
    noted = ValueError("bad")
    noted.add_note("row 7\n  of prices")
    assert message_of_traceback(text_of(noted)) == "ValueError: bad\nrow 7\n  of prices"
    group = ExceptionGroup("g", [ValueError("a\nb"), ExceptionGroup("h", [noted])])
    group.__cause__ = raised(refuse)
    assert message_of_traceback(text_of(group)) == (
        "ExceptionGroup: g (2 sub-exceptions): ValueError: a\nb;"
        " ExceptionGroup: h (1 sub-exception); ValueError: bad\nrow 7\n  of prices"
    )
    for text in (
        "",
        "ValueError: late",
        "Traceback (most recent call last):\n  ...\nValueError: late",
    ):
        assert message_of_traceback(text) == text.rpartition("\n")[2]


class ErrorWithoutText(Exception):
    def __str__(self):
        raise RuntimeError("not even this")


class ErrorWithInvalidText(Exception):
    __str__ = len  # raises TypeError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("boom", "boom"),
        (ValueError("no ink"), "no ink"),
        (ValueError(), "ValueError"),
        (ValueError("a", "b"), "('a', 'b')"),
        (OSError(2, "No such file"), "[Errno 2] No such file"),
        (ExceptionGroup("both", [ValueError("a")]), "both (1 sub-exception): ValueError: a"),
        (ValueError("a\x00\ud800"), "a\ufffd\ufffd"),
        (None, "None"),
        (5, "5"),
        (ErrorWithoutText(), "ErrorWithoutText"),
        (ErrorWithInvalidText(), "ErrorWithInvalidText"),
    ],
)
def test_text_of_an_error(error, text):
    assert shortened_error(error) == text


def test_long_error_is_cut():
    assert shortened_error("x" * MAX_ERROR_CHARACTERS) == "x" * MAX_ERROR_CHARACTERS
    cut = shortened_error("x" * (MAX_ERROR_CHARACTERS + 7))
    assert cut == "x" * MAX_ERROR_CHARACTERS + " [... 7 more characters]"


def test_secrets_in_errors_are_redacted():
    error = ConnectionError("redis://:hunter2@cache:6379 does not answer")
    assert shortened_error(error) == "redis://[redacted]@cache:6379 does not answer"
