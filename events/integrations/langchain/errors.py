"""Exceptions that are LangGraph's control flow; stand-ins if only LangChain is installed."""

try:
    from langgraph.errors import GraphBubbleUp, GraphInterrupt
except ImportError:  # only LangChain is installed

    class GraphBubbleUp(Exception):  # type: ignore[no-redef]
        """Base of exceptions that pass through a graph and are not errors."""

    class GraphInterrupt(GraphBubbleUp):  # type: ignore[no-redef]
        """Raised to request input from a user."""


__all__ = ["GraphBubbleUp", "GraphInterrupt"]
