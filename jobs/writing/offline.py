"""A chat model that needs neither a key nor a network: it answers by extraction.

It reads the briefs of `jobs.writing.prompts`, calls the tools that are bound to it, and makes its
answers out of the sentences of the sources. It streams like any other chat model.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any
from uuid import uuid4

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    UsageMetadata,
    message_chunk_to_message,
)
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import run_in_executor
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from jobs.writing.language import CJK
from jobs.writing.offline_turns import ToolUse, Turn, next_turn

MODEL_NAME = "offline-extraction"
# A word with the space after it, or one or two Chinese or Japanese characters.
_TOKEN = re.compile(rf"[{CJK}]{{1,2}}\s*|[^\s{CJK}]+\s*|\s+")


class OfflineChatModel(BaseChatModel):
    """Plans and writes by extraction. `token_delay`: seconds between two streamed tokens."""

    token_delay: float = Field(default=0.0, ge=0.0)

    @property
    def _llm_type(self) -> str:
        return "offline-extraction"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": MODEL_NAME, "token_delay": self.token_delay}

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools that it may call; with a `tool_choice` of "none" it calls none."""
        bound = [convert_to_openai_tool(tool) for tool in tools]
        return self.bind(tools=bound, tool_choice=tool_choice, **kwargs)

    def get_num_tokens(self, text: str) -> int:
        """How many tokens the text has, as this model counts and streams them."""
        return len(split_tokens(text))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        first, *others = _chunks(messages, stop, **kwargs)
        message = message_chunk_to_message(first + others)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in _chunks(messages, stop, **kwargs):
            yield ChatGenerationChunk(message=chunk)
            if self.token_delay:
                time.sleep(self.token_delay)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        # Extraction from a long source takes a moment of CPU; the event loop goes on meanwhile.
        for chunk in await run_in_executor(None, _chunks, messages, stop, **kwargs):
            yield ChatGenerationChunk(message=chunk)
            await asyncio.sleep(self.token_delay)


def split_tokens(text: str) -> list[str]:
    """The tokens of a text; joined, they are the text."""
    return _TOKEN.findall(text)


def _chunks(
    messages: Sequence[BaseMessage],
    stop: Sequence[str] | None = None,
    *,
    tools: Sequence[dict[str, Any]] = (),
    tool_choice: str | None = None,
    **_: Any,
) -> list[AIMessageChunk]:
    """The whole reply as chunks: tokens, tool calls in parts, then usage on the last one."""
    names = [] if tool_choice == "none" else [tool["function"]["name"] for tool in tools]
    turn = _stopped(next_turn(messages, names), stop or ())
    tokens = split_tokens(turn.text)
    parts = [part for place, use in enumerate(turn.tools) for part in _tool_parts(use, place)]
    spoken = [AIMessageChunk(content=token) for token in tokens]
    written = len(tokens) + sum(len(split_tokens(str(use.args))) for use in turn.tools)
    reason = "tool_calls" if turn.tools else "stop"
    return [*spoken, *parts, _last_chunk(_usage(messages, written), reason)]


def _stopped(turn: Turn, stop: Sequence[str]) -> Turn:
    places = [place for word in stop if word and (place := turn.text.find(word)) != -1]
    return Turn(turn.text[: min(places)], turn.tools) if places else turn


def _tool_parts(use: ToolUse, place: int) -> Iterator[AIMessageChunk]:
    args = json.dumps(use.args, ensure_ascii=False)
    yield AIMessageChunk(
        content="",
        tool_call_chunks=[
            tool_call_chunk(name=use.name, args="", id=f"call_{uuid4().hex}", index=place)
        ],
    )
    yield AIMessageChunk(content="", tool_call_chunks=[tool_call_chunk(args=args, index=place)])


def _last_chunk(usage: UsageMetadata, reason: str) -> AIMessageChunk:
    return AIMessageChunk(
        content="",
        usage_metadata=usage,
        response_metadata={"model_name": MODEL_NAME, "finish_reason": reason},
        chunk_position="last",
    )


def _usage(messages: Sequence[BaseMessage], written: int) -> UsageMetadata:
    read = sum(len(split_tokens(str(message.text))) for message in messages)
    return UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
