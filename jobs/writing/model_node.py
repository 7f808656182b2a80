"""One call of a chat model as a node of a graph, streamed, in a sync and an async form."""

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ToolMessage,
    message_chunk_to_message,
)
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import run_in_executor
from langchain_core.tools import BaseTool

from jobs.writing.errors import ModelNameError, ModelReplyError
from jobs.writing.prompts import no_more_tools

MAX_TOOL_ROUNDS = 8
# After this many more rounds, in which it is told to stop, a model is not asked again.
_MAX_REFUSALS = 2

Messages = Callable[[Any], Sequence[BaseMessage]]


class ModelNode(Runnable[Any, dict[str, Any]]):
    """Streams a reply to the messages that `messages_of` takes from the state.

    Streaming makes callback handlers hear of each token, and they are called on the caller's own
    event loop when the graph runs with `ainvoke`. `messages_of` runs in a thread then.
    """

    def __init__(
        self, model: Runnable[LanguageModelInput, AIMessage], messages_of: Messages
    ) -> None:
        self.model = model
        self.messages_of = messages_of

    def invoke(
        self,
        input: Any,  # noqa: A002
        config: RunnableConfig | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        """The state's update: the reply in `messages`."""
        messages = list(self.messages_of(input))
        return {"messages": [merge(list(self.model.stream(messages, config)))]}

    async def ainvoke(
        self,
        input: Any,  # noqa: A002
        config: RunnableConfig | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        """As `invoke`, on the running event loop."""
        messages = list(await run_in_executor(config, self.messages_of, input))
        chunks = [chunk async for chunk in self.model.astream(messages, config)]
        return {"messages": [merge(chunks)]}


def merge(chunks: Sequence[AIMessage]) -> AIMessage:
    """The message that the streamed chunks make; a model that cannot stream gives it whole."""
    pieces = [chunk for chunk in chunks if isinstance(chunk, AIMessageChunk)]
    if not pieces:
        return chunks[-1] if chunks else AIMessage(content="")
    message = message_chunk_to_message(pieces[0] + pieces[1:])
    return message if isinstance(message, AIMessage) else AIMessage(content=message.content)


def with_tools(
    model: BaseChatModel, tools: Sequence[BaseTool]
) -> Runnable[LanguageModelInput, AIMessage]:
    """The model with the tools bound. Raises ModelNameError if it cannot call tools."""
    if not tools:
        return model
    try:
        return model.bind_tools(tools)
    except NotImplementedError as error:
        raise ModelNameError(
            f"{type(model).__name__} cannot call tools, which it needs to read the context files."
        ) from error


def wants_tools(messages: Sequence[BaseMessage]) -> bool:
    """Whether the last message calls tools."""
    return bool(_tool_calls(messages[-1]))


def tool_rounds(messages: Sequence[BaseMessage]) -> int:
    """How many of the messages call tools."""
    return sum(1 for message in messages if _tool_calls(message))


def after_reply(messages: Sequence[BaseMessage], *, tools: bool, otherwise: str) -> str:
    """The node to go to after a reply: research, stop_research, or the other one."""
    if not wants_tools(messages):
        return otherwise
    allowed = tools and tool_rounds(messages) <= MAX_TOOL_ROUNDS
    return "research" if allowed else "stop_research"


def refuse_tools(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The answers to tool calls that are too many. Raises ModelReplyError if that goes on."""
    if tool_rounds(messages) > MAX_TOOL_ROUNDS + _MAX_REFUSALS:
        raise ModelReplyError(
            f"The chat model called tools {tool_rounds(messages)} times and gave no answer."
        )
    return [
        ToolMessage(no_more_tools(), tool_call_id=call["id"], name=call["name"], status="error")
        for call in _tool_calls(messages[-1])
    ]


def _tool_calls(message: BaseMessage) -> list[Any]:
    return list(message.tool_calls) if isinstance(message, AIMessage) else []
