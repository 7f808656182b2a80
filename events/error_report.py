"""Messages and tracebacks of errors: leaf errors of groups, causes, notes, no variables. No I/O.

Errors that Celery and billiard wrap to send them to another process are recognized by attributes.
"""

import linecache
import re
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import PurePath
from traceback import walk_tb
from types import FrameType, TracebackType
from typing import Any, Final

from events.codec import replace_invalid
from events.json_size import cut_text
from events.redaction import DEFAULT_REDACTOR

MAX_ERROR_CHARACTERS: Final = 10_000
_MAX_FRAMES: Final = 10
_MAX_CAUSES: Final = 3
_MAX_LEAVES: Final = 10
_MAX_NOTES: Final = 10
_MAX_SUMMARY_CHARACTERS: Final = 1_000
_MAX_WRAPPERS: Final = 5
_MAX_REMOTE_LINES: Final = 20
_HEADERS: Final = ("Traceback (most recent call last)", "Exception Group Traceback (most recent")
_CHAINED: Final = ("The above exception was the direct", "During handling of the above exception")
# Names the node and a random id, which the events of the graph have.
_LANGGRAPH_NOTE: Final = "During task with name "
_GROUP_LINE: Final = re.compile(r"\s*\+-")  # between the errors of a group
_GROUP_PREFIX: Final = re.compile(r"\s*[|+] ")
_INTERNAL: Final = frozenset((
    "langchain", "langchain_core", "langchain_classic", "langgraph", "langsmith", "asyncio",
    "concurrent", "threading", "contextlib", "contextvars", "functools", "tenacity", "pydantic",
    "celery", "billiard", "django_tasks", "rq",
))  # fmt: skip
_OWN: Final = ("events.execution.", "events.integrations.")


def error_text(error: object) -> str:
    """Return `str(error)`; empty if that raises, as the `__str__` of a project's error may."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - it must not replace the error
        return ""


def error_type(error: object) -> str:
    """Return the name of the class of an error, of a wrapper that of the original error."""
    error = _unwrapped(error)
    return str(_attribute(error, "exc_cls_name") or type(error).__name__)


def error_message(error: object, *, with_causes: bool = False) -> str:
    """Return the message of an error with its notes; optionally with its explicit causes.

    A group lists its leaf errors. A pydantic error is described without the rejected values.
    """
    try:
        text = _message_with_causes(_unwrapped(error)) if with_causes else _message(error)
        return f"{error_type(error)} {text}" if text.startswith("(caused by ") else text
    except Exception:  # noqa: BLE001 - attributes of the error may raise anything
        return error_text(error)


def redacted_error(error: object) -> str:
    """Return the message of an error with its causes and without secrets, or its type."""
    message = replace_invalid(error_message(error, with_causes=True))
    return DEFAULT_REDACTOR.text(message) or error_type(error)


def shortened_error(error: object) -> str:
    """Return `redacted_error`, cut to MAX_ERROR_CHARACTERS."""
    return cut_text(redacted_error(error), MAX_ERROR_CHARACTERS)


def error_traceback(error: BaseException) -> str:
    """Return the innermost frames outside of LangGraph, queues and this package, innermost last.

    Then the leaf errors of a group and the causes, each with its frames. Without variables, which
    may contain secrets.
    """
    error = _unwrapped(error)
    parts = _frames(error.__traceback__)
    if isinstance(error, BaseExceptionGroup):
        for leaf in islice(_leaves(error), _MAX_LEAVES):
            parts += [f"Sub-exception {_summary(leaf)}\n", *_frames(leaf.__traceback__)]
            parts += _caused_by(leaf)
    return "".join([*parts, *_caused_by(error)]).rstrip()


def redacted_traceback(error: BaseException) -> str:
    """Return `error_traceback` without secrets, cut to MAX_ERROR_CHARACTERS; never raises."""
    try:
        text = DEFAULT_REDACTOR.text(replace_invalid(error_traceback(error)))
    except Exception:  # noqa: BLE001 - attributes of the error may raise anything
        return ""
    return cut_text(text, MAX_ERROR_CHARACTERS)


def message_of_traceback(text: str) -> str:
    """Return what a formatted traceback says of its error; of a group with its leaf errors."""
    messages: list[list[str]] = [[]]
    in_frames = False
    for line in text.strip().splitlines():
        content = _GROUP_PREFIX.sub("", line)
        if content.startswith(_CHAINED):  # the message so far is that of a cause
            messages = [[]]
        elif content.startswith(_HEADERS):
            in_frames = True
        elif _GROUP_LINE.match(line):
            messages.append([])
        elif not (in_frames and content.startswith("  ")):
            in_frames = False
            messages[-1].append(content)
    first, *leaves = ["\n".join(lines).strip() for lines in messages]
    return f"{first}: {'; '.join(filter(None, leaves))}" if any(leaves) else first


def _caused_by(error: BaseException) -> Iterator[str]:
    for cause in _causes(error):
        if _is_remote_traceback(cause):
            lines = error_text(cause).strip('\n"').splitlines()
            yield "\n".join(["In another process:", *lines[-_MAX_REMOTE_LINES:], ""])
        else:
            yield "".join([f"Caused by {_summary(cause)}\n", *_frames(cause.__traceback__)])


def _message_with_causes(error: Any, *, in_group: bool = False) -> str:
    message = _message(error)
    causes = []
    for cause in _causes(error, is_explicit=True) if isinstance(error, BaseException) else ():
        text = _message(cause, in_group=in_group)
        # Django and others repeat the message of the driver's error.
        if not _is_remote_traceback(cause) and not (text and text in message):
            causes.append(f"caused by {_summary(cause, in_group=in_group)}")
    return f"{message} ({'; '.join(causes)})".strip() if causes else message


def _summary(error: BaseException, *, in_group: bool = False) -> str:
    """Return the type and the message of an error within another one, cut if it is long."""
    message = _message(error, in_group=in_group)
    return _shortened(f"{error_type(error)}: {message}".removesuffix(": "))


def _shortened(text: str) -> str:
    if len(text) <= _MAX_SUMMARY_CHARACTERS:
        return text
    # A secret that is cut in half is not recognized.
    end = DEFAULT_REDACTOR.safe_prefix_length(text[:_MAX_SUMMARY_CHARACTERS])
    return cut_text(text, end)


def _message(error: object, *, in_group: bool = False) -> str:
    """Return the message of one error with its notes, without its cause.

    The leaf errors of a group have their causes, unless the group is such a cause: it may be the
    cause of its own leaf error.
    """
    error = _unwrapped(error)
    lines = [_own_message(error)]
    if isinstance(error, BaseExceptionGroup):
        leaves = list(_leaves(error))
        message = _message if in_group else partial(_message_with_causes, in_group=True)
        shown = [
            _shortened(f"{error_type(leaf)}: {message(leaf)}".removesuffix(": "))
            for leaf in leaves[:_MAX_LEAVES]
        ]
        more = [f"{len(leaves) - _MAX_LEAVES} more"] if len(leaves) > _MAX_LEAVES else []
        lines = [f"{lines[0]}: {'; '.join(shown + more)}"]
    notes = _attribute(error, "__notes__")
    if isinstance(notes, (list, tuple)):
        texts = [error_text(note) for note in notes[:_MAX_NOTES]]
        lines += [text for text in texts if not text.startswith(_LANGGRAPH_NOTE)]
    return "\n".join(filter(None, lines))


def _own_message(error: object) -> str:
    errors = _attribute(error, "errors")
    if type(error).__name__ == "ValidationError" and callable(errors):
        try:
            details = errors(include_input=False, include_context=False, include_url=False)
            return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in details)
        except Exception:  # noqa: BLE001 - another package's ValidationError
            return error_text(error)
    if _attribute(error, "exc_cls_name"):  # of an error that could not be pickled
        return error_text(_attribute(error, "text") or _attribute(error, "exc_args") or "")
    return error_text(error)


def _leaves(group: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    """Yield the errors in a group and its groups, each once."""
    pending: list[Any] = [group]
    seen: set[int] = set()
    while pending:
        error = _unwrapped(pending.pop())
        if id(error) in seen:
            continue
        seen.add(id(error))
        if isinstance(error, BaseExceptionGroup):
            pending.extend(reversed(error.exceptions))
        else:
            yield error


def _attribute(error: object, name: str) -> Any:
    """Return an attribute; None if it is missing or raises, as `__getattr__` of an error may."""
    try:
        return getattr(error, name, None)
    except Exception:  # noqa: BLE001 - it must not replace the error
        return None


def _unwrapped(error: Any) -> Any:
    """Return the error within wrappers of Celery and billiard: those with the attribute `exc`."""
    for _ in range(_MAX_WRAPPERS):
        inner = _attribute(error, "exc") or _attribute(error, "exception")
        is_wrapper = type(error).__module__.partition(".")[0] in ("billiard", "celery")
        if not is_wrapper or not isinstance(inner, BaseException):
            break
        error = inner
    return error


def _causes(error: BaseException, *, is_explicit: bool = False) -> Iterator[BaseException]:
    """Yield the cause of an error, else its context unless that is suppressed; then its cause."""
    seen = {id(error)}
    for _ in range(_MAX_CAUSES):
        is_hidden = is_explicit or error.__suppress_context__
        cause = _unwrapped(error.__cause__ or (None if is_hidden else error.__context__))
        if cause is None or id(cause) in seen:
            return
        seen.add(id(cause))
        yield cause
        error = cause


def _is_remote_traceback(error: BaseException) -> bool:
    return type(error).__name__ in ("RemoteTraceback", "_RemoteTraceback")


def _frames(trace: TracebackType | None) -> list[str]:
    frames = list(walk_tb(trace))
    user_frames = [(frame, line) for frame, line in frames if not _is_internal(frame)]
    return [_format(frame, line) for frame, line in (user_frames or frames)[-_MAX_FRAMES:]]


def _is_internal(frame: FrameType) -> bool:
    name = str(frame.f_globals.get("__name__", ""))
    return name.partition(".")[0] in _INTERNAL or name.startswith(_OWN)


def _format(frame: FrameType, line: int) -> str:
    code = frame.f_code
    source = linecache.getline(code.co_filename, line, frame.f_globals).strip()
    head = f'File "{_relative_path(frame)}", line {line}, in {code.co_name}\n'
    return f"{head}  {source}\n" if source else head


def _relative_path(frame: FrameType) -> str:
    """Return the path within the package, without the location of the installation."""
    path = PurePath(frame.f_code.co_filename)
    depth = str(frame.f_globals.get("__name__", "")).count(".") + 1
    return "/".join(path.parts[-depth - (path.stem == "__init__") :])
