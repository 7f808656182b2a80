"""What these tests share: sample texts, a reporter that remembers, a model with a script."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field

from jobs.writing.outline import walk
from jobs.writing.sources import ContextFile

_SAMPLES = Path(__file__).parent / "samples"


def sample(name: str) -> ContextFile:
    return ContextFile(name, (_SAMPLES / name).read_text("utf-8"))


def headings(outline: dict[str, Any]) -> list[str]:
    return [f"{section.id} {section.heading}" for section in walk(outline)]


class Recorder:
    """A reporter that keeps what it hears."""

    def __init__(self) -> None:
        self.fractions: list[float] = []
        self.messages: list[str] = []
        self.sections: list[dict[str, Any]] = []

    def progress(self, fraction: float, message: str) -> None:
        self.fractions.append(fraction)
        self.messages.append(message)

    def section(self, section: dict[str, Any]) -> None:
        self.sections.append(section)


class Heard(BaseCallbackHandler):
    """A callback handler that keeps the tokens, the nodes that ran and the tools that were used."""

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


class ScriptedModel(BaseChatModel):
    """Stands for a provider's model: says each of `replies` in turn, the last one for ever."""

    replies: list[AIMessage]
    seen: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self

    def _next(self, messages: list[BaseMessage]) -> AIMessage:
        self.seen.append(messages)
        reply = self.replies[min(len(self.seen), len(self.replies)) - 1]
        return reply.model_copy(update={"id": None})

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._next(messages))])


class StreamingScriptedModel(ScriptedModel):
    """The same in chunks of a few characters."""

    def _stream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        reply = self._next(messages)
        text = str(reply.text)
        for start in range(0, len(text), 7):
            yield ChatGenerationChunk(message=AIMessageChunk(content=text[start : start + 7]))
        yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_calls=reply.tool_calls))


def says(*replies: str | AIMessage, stream: bool = True) -> ScriptedModel:
    model = StreamingScriptedModel if stream else ScriptedModel
    messages = [AIMessage(reply) if isinstance(reply, str) else reply for reply in replies]
    return model(replies=messages)


def calls(name: str, /, **args: Any) -> AIMessage:
    call = {"name": name, "args": args, "id": "call_1", "type": "tool_call"}
    return AIMessage("", tool_calls=[call])


def calls_made(function: Callable[[], object]) -> int:
    """How many Python and C calls a function makes, a measure of work that no load changes."""
    count = 0

    def profile(*_: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count
