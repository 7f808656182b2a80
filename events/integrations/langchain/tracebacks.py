"""An error's traceback, cut to the frames of the user's own code; no variables."""

import linecache
from pathlib import PurePath
from traceback import walk_tb
from types import FrameType
from typing import Final

from events.integrations.langchain.extract import error_message

_FRAMES: Final = 10
_CAUSES: Final = 3
_INTERNAL: Final = frozenset((
    "langchain", "langchain_core", "langchain_classic", "langgraph", "langsmith", "asyncio",
    "concurrent", "threading", "contextlib", "contextvars", "functools", "tenacity", "pydantic",
))  # fmt: skip


def trimmed_traceback(error: BaseException) -> str:
    """The last frames that are neither LangChain's nor LangGraph's, the innermost at the end."""
    frames = [(frame, line) for frame, line in walk_tb(error.__traceback__)]
    own = [(frame, line) for frame, line in frames if not _is_internal(frame)]
    lines = [_shown(frame, line) for frame, line in (own or frames)[-_FRAMES:]]
    return "".join([*lines, *_causes(error)]).rstrip()


def _is_internal(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in _INTERNAL


def _shown(frame: FrameType, line: int) -> str:
    code = frame.f_code
    source = linecache.getline(code.co_filename, line, frame.f_globals).strip()
    head = f'File "{_short(frame)}", line {line}, in {code.co_name}\n'
    return f"{head}  {source}\n" if source else head


def _short(frame: FrameType) -> str:
    """The file as its package has it: where the package lies is nobody's business."""
    path = PurePath(frame.f_code.co_filename)
    depth = str(frame.f_globals.get("__name__", "")).count(".") + 1
    return "/".join(path.parts[-depth - (path.stem == "__init__") :])


def _causes(error: BaseException) -> list[str]:
    causes: list[str] = []
    cause = error.__cause__
    while cause is not None and len(causes) < _CAUSES:
        causes.append(f"Caused by {type(cause).__name__}: {error_message(cause)}\n")
        cause = cause.__cause__
    return causes
