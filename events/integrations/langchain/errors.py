"""Exceptions that are LangGraph's control flow, and the status of the runs that they end."""

import asyncio
import concurrent.futures
from typing import Final

from events.exceptions import InputPending, JobCancelled
from events.integrations.langchain.run_state import RunState, RunStatus

try:
    from langgraph.errors import GraphBubbleUp, ParentCommand
except ImportError:  # only LangChain is installed

    class GraphBubbleUp(Exception):  # type: ignore[no-redef]
        """Base of exceptions that pass through a graph and are not errors."""

    class ParentCommand(GraphBubbleUp):  # type: ignore[no-redef]
        """Continues the graph around a subgraph."""


__all__ = ["GraphBubbleUp", "ParentCommand", "related_origins", "status_after"]

# Raised in a graph whose task is cancelled, or whose iterator is closed.
_ABORTED: Final = (
    asyncio.CancelledError, concurrent.futures.CancelledError, GeneratorExit, JobCancelled,
)  # fmt: skip
_MAX_RELATED: Final = 100


def status_after(
    error: BaseException, run: RunState, control_flow: tuple[type[BaseException], ...]
) -> RunStatus:
    """Return the status of a run that raised an exception."""
    if isinstance(error, (*_ABORTED, *control_flow)):
        return RunStatus.CANCELLED
    if isinstance(error, ParentCommand):
        return RunStatus.FAILED if run.is_top else RunStatus.DONE
    if isinstance(error, (GraphBubbleUp, InputPending)):
        return RunStatus.INTERRUPTED
    return RunStatus.FAILED


def related_origins(error: BaseException, run: RunState) -> list[str]:
    """Return the runs that raised the error, its cause or its leaf errors, if recorded."""
    found, seen, origins = [error], {id(error)}, []
    for one in found:  # grows
        if origin := run.origin(one):
            origins.append(origin)
        if origin or len(seen) > _MAX_RELATED:
            continue
        context = None if one.__suppress_context__ else one.__context__
        members = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        for each in (one.__cause__, context, *members):
            if isinstance(each, BaseException) and id(each) not in seen:
                seen.add(id(each))
                found.append(each)
    return origins
