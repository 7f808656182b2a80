"""Exceptions of a run: LangGraph's control flow, messages, and tracebacks of the user's code."""

import linecache
from pathlib import PurePath
from traceback import walk_tb
from types import FrameType
from typing import Final

from events.log_format import error_text

try:
    from langgraph.errors import GraphBubbleUp, GraphInterrupt
except ImportError:  # only LangChain is installed

    class GraphBubbleUp(Exception):  # type: ignore[no-redef]
        """Base of exceptions that pass through a graph and are not errors."""

    class GraphInterrupt(GraphBubbleUp):  # type: ignore[no-redef]
        """Raised to request input from a user."""


__all__ = ["GraphBubbleUp", "GraphInterrupt", "error_message", "trimmed_traceback"]

_MAX_FRAMES: Final = 10
_MAX_CAUSES: Final = 3
_INTERNAL: Final = frozenset((
    "langchain", "langchain_core", "langchain_classic", "langgraph", "langsmith", "asyncio",
    "concurrent", "threading", "contextlib", "contextvars", "functools", "tenacity", "pydantic",
))  # fmt: skip


def error_message(error: BaseException) -> str:
    """Return the message of an error; of a pydantic error without the rejected values."""
    errors = getattr(error, "errors", None)
    if type(error).__name__ != "ValidationError" or not callable(errors):
        return error_text(error)
    try:
        details = errors(include_input=False, include_context=False, include_url=False)
    except TypeError:  # another package's ValidationError
        return error_text(error)
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in details)


def trimmed_traceback(error: BaseException) -> str:
    """Return the innermost frames outside of LangChain and LangGraph, innermost last.

    Without variables, which may contain secrets.
    """
    frames = list(walk_tb(error.__traceback__))
    user_frames = [(frame, line) for frame, line in frames if not _is_internal(frame)]
    lines = [_format(frame, line) for frame, line in (user_frames or frames)[-_MAX_FRAMES:]]
    return "".join([*lines, *_causes(error)]).rstrip()


def _is_internal(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in _INTERNAL


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


def _causes(error: BaseException) -> list[str]:
    causes: list[str] = []
    cause = error.__cause__
    while cause is not None and len(causes) < _MAX_CAUSES:
        causes.append(f"Caused by {type(cause).__name__}: {error_message(cause)}\n")
        cause = cause.__cause__
    return causes
