"""What LangGraph raises to interrupt a graph; stand-ins where there is LangChain alone."""

try:
    from langgraph.errors import GraphBubbleUp, GraphInterrupt
except ImportError:

    class GraphBubbleUp(Exception):  # type: ignore[no-redef]
        """Stands for what is no error, and passes through a graph."""

    class GraphInterrupt(GraphBubbleUp):  # type: ignore[no-redef]
        """Stands for what is raised to ask a person."""


__all__ = ["GraphBubbleUp", "GraphInterrupt"]
