"""Shared parts of these tests: recorders and fake models of a provider."""

from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage


class ReportRecorder:
    """Report callback that keeps its arguments."""

    def __init__(self) -> None:
        self.fractions: list[float] = []
        self.sections: list[dict[str, Any]] = []

    def __call__(self, fraction: float, message: str, section: Any = None) -> None:
        assert message
        self.fractions.append(fraction)
        self.sections += [section] if section else []


class CallbackRecorder(BaseCallbackHandler):
    """Callback handler that keeps tokens, nodes and tool calls."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.nodes: list[str] = []
        self.tools: list[str] = []

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.tokens.append(token)

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self.nodes.append(kwargs["name"])

    def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
        self.tools.append(serialized["name"])


class ProviderModel(GenericFakeChatModel):
    """Fake model of a provider: returns prepared replies and accepts any tools."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self


def provider(*replies: str | AIMessage) -> ProviderModel:
    return ProviderModel(messages=iter(replies))


def headings(sections: list[dict[str, Any]]) -> list[str]:
    """The ids and headings of an outline, in reading order."""
    found = []
    for section in sections:
        found.append(f"{section['id']} {section['heading']}")
        found += headings(section.get("sections", []))
    return found
