"""Content of messages and of the results of tools, as plain data. Raises nothing.

Providers represent reasoning, refusals and calls of tools in different ways; langchain-core passes
them on in content blocks and in `additional_kwargs`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from langchain_core.messages import BaseMessage, ToolMessage

from events.integrations.langchain.extract import TEXT, first_generation, present

try:
    from langgraph.types import Command, Send
except ImportError:  # only LangChain is installed

    class Command:  # type: ignore[no-redef]
        """Updates the state of a graph and selects its next node."""

    class Send:  # type: ignore[no-redef]
        """Sends a value to a node."""


REASONING: Final = "reasoning"
REFUSAL: Final = "refusal"

_REASONING_BLOCKS: Final = ("thinking", "reasoning", "reasoning_content")
_CALL_BLOCKS: Final = (
    "tool_use", "tool_call", "tool_call_chunk", "invalid_tool_call", "function_call",
    "custom_tool_call", "input_json_delta",
)  # fmt: skip
_SERVER_CALL_BLOCKS: Final = ("server_tool_call", "server_tool_use", "mcp_tool_use")
_SERVER_CALL_SUFFIX: Final = "_call"  # web_search_call, code_interpreter_call, … of OpenAI
_SERVER_RESULT_SUFFIX: Final = "_result"
_ARGUMENTS: Final = ("args", "input", "arguments", "action", "code", "queries")
# Fields of server calls: results, and those that are no arguments.
_RESULT_FIELDS: Final = ("output", "outputs", "result", "results", "error")
_CALL_FIELDS: Final = (*_RESULT_FIELDS, "type", "id", "call_id", "name", "status", "index")
_CITATIONS: Final = ("citations", "annotations", "search_results", "grounding_metadata")

Pieces = list[tuple[str, str]]


def streamed_pieces(token: Any, chunk: Any) -> Pieces:
    """Return kind and text of a streamed token: of its text, its blocks or its chunk's fields."""
    pieces = content_pieces(token)
    return pieces or _additional_pieces(getattr(chunk, "message", None))


def is_call_chunk(chunk: Any) -> bool:
    """Return whether a streamed chunk is part of a tool call."""
    return bool(getattr(getattr(chunk, "message", None), "tool_call_chunks", None))


def delta_token(event: Any) -> Any:
    """Return an event of `stream_events(version="v3")` as a token; most have no text."""
    delta = event.get("delta") if isinstance(event, Mapping) else None
    if not isinstance(delta, Mapping):
        return ""
    if isinstance(reasoning := delta.get("reasoning"), str):
        return [{"type": "reasoning", "reasoning": reasoning}]
    text = delta.get("text")
    return text if isinstance(text, str) else ""


def content_pieces(content: Any) -> Pieces:
    """Return kind and text of the content of a message: a string, or a list of blocks."""
    blocks = [content] if isinstance(content, str) else content
    pieces = map(_block_piece, blocks) if isinstance(blocks, list) else ()
    return [piece for piece in pieces if piece[1]]


def _block_piece(block: Any) -> tuple[str, str]:
    if isinstance(block, str):
        return TEXT, block
    if not isinstance(block, Mapping):
        return TEXT, ""
    block = _unwrapped(block)
    if block.get("type") in _REASONING_BLOCKS:
        return REASONING, _reasoning_text(block)
    if isinstance(refusal := block.get("refusal"), str):
        return REFUSAL, refusal
    text = block.get("text")
    return TEXT, text if isinstance(text, str) else ""


def _unwrapped(block: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the block of a provider that LangChain passes on within a block of its own."""
    value = block.get("value") if block.get("type") == "non_standard" else None
    return value if isinstance(value, Mapping) else block


def _reasoning_text(given: Any) -> str:
    """Return the text of reasoning: a string, a block, or a list of summaries."""
    if isinstance(given, str):
        return given
    if isinstance(given, list):
        return "\n".join(filter(None, map(_reasoning_text, given)))
    if isinstance(given, Mapping):
        for key in ("thinking", "reasoning", "reasoning_content", "text", "summary", "content"):
            if text := _reasoning_text(given.get(key)):
                return text
    return ""


def _additional_pieces(message: Any) -> Pieces:
    fields = getattr(message, "additional_kwargs", None) or {}
    names = ("reasoning_content", "reasoning", "reasoning_details")
    reasoning = next(filter(None, (_reasoning_text(fields.get(name)) for name in names)), "")
    refusal = fields.get("refusal")
    pieces = [(REASONING, reasoning), (REFUSAL, refusal if isinstance(refusal, str) else "")]
    return [piece for piece in pieces if piece[1]]


def output_pieces(response: Any) -> Pieces:
    """Return kind and text of the first generation of an LLMResult, reasoning first."""
    generation = first_generation(response)
    message = getattr(generation, "message", None)
    if message is None:
        return content_pieces(getattr(generation, "text", ""))
    pieces = content_pieces(message.content)
    known = {kind for kind, _ in pieces}
    more = [piece for piece in _additional_pieces(message) if piece[0] not in known]
    before = [piece for piece in more if piece[0] == REASONING]
    return [*before, *pieces, *(piece for piece in more if piece not in before)]


def output_message(response: Any) -> Any:
    """Return the message of the first generation of an LLMResult, None of other models."""
    return getattr(first_generation(response), "message", None)


def tool_calls(message: Any) -> list[dict[str, Any]]:
    """Return the tool calls of a model: `name`, `id`, `args`; `type` unless a tool handles it."""
    invalid = getattr(message, "invalid_tool_calls", None) or ()
    server = filter(_is_server_call, _blocks(message))
    calls = [
        *map(_call, getattr(message, "tool_calls", None) or ()),
        *({**_call(call), "type": "invalid_tool_call"} for call in invalid),
        *({**_call(block), "type": block["type"]} for block in server),
    ]
    legacy = (getattr(message, "additional_kwargs", None) or {}).get("function_call")
    if not calls and isinstance(legacy, Mapping):
        calls.append(_call(legacy))
    return calls


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    fields = {key: value for key, value in call.items() if key not in _CALL_FIELDS}
    args: Any = next((call[key] for key in _ARGUMENTS if key in call), fields)
    return {"name": call.get("name") or call.get("type"), "id": call.get("id"), "args": args}


def _is_server_call(block: Mapping[str, Any]) -> bool:
    kind = str(block.get("type"))
    return kind not in _CALL_BLOCKS and (
        kind in _SERVER_CALL_BLOCKS or kind.endswith(_SERVER_CALL_SUFFIX)
    )


def other_content(message: Any, *, with_results: bool) -> list[Any]:
    """Return the content that is neither text nor a call: images, audio, results of servers."""
    found: list[Any] = []
    for block in _blocks(message):
        if result := _server_result(block):
            found += [result] if with_results else []
        elif _is_other(block):
            found.append(block)
    fields = getattr(message, "additional_kwargs", None) or {}
    for kind in ("audio", "images", "image"):
        if fields.get(kind):
            found.append({"type": kind, kind: fields[kind]})
    return found


def has_server_results(message: Any) -> bool:
    """Return whether a message contains results of tools that its provider ran."""
    return any(map(_server_result, _blocks(message)))


def _server_result(block: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the result of a tool that the provider ran: the block, or a part of its call."""
    if str(block.get("type")).endswith(_SERVER_RESULT_SUFFIX):
        return block
    result = present(**{key: block.get(key) for key in _RESULT_FIELDS})
    if not (result and _is_server_call(block)):
        return None
    return {"type": block["type"], "id": block.get("id"), **result}


def _is_other(block: Mapping[str, Any]) -> bool:
    if _block_piece(block)[1] or block.get("type") in ("text", *_CALL_BLOCKS):
        return False
    # Reasoning without text is a signature or encrypted.
    return block.get("type") not in _REASONING_BLOCKS and not _is_server_call(block)


def citations(message: Any) -> list[Any]:
    """Return the citations of a message, in the form of its provider."""
    sources = [
        *_blocks(message),
        getattr(message, "additional_kwargs", None) or {},
        getattr(message, "response_metadata", None) or {},
    ]
    found: list[Any] = []
    for source in sources:
        for key in _CITATIONS:
            value = source.get(key)
            found += value if isinstance(value, list) else [value] if value else []
    return found


def _blocks(message: Any) -> Iterator[Mapping[str, Any]]:
    content = getattr(message, "content", None)
    for block in content if isinstance(content, list) else ():
        if isinstance(block, Mapping):
            yield _unwrapped(block)


def prompt_messages(batch: Any) -> list[dict[str, Any]]:
    """Return the messages to a model: `role`, `content` and, where they apply, other fields."""
    return [
        {"role": _role(message), **message_fields(message)}
        for conversation in batch or []
        for message in conversation
    ]


def _role(message: Any) -> str:
    return str(getattr(message, "type", "message"))


def message_fields(message: Any) -> dict[str, Any]:
    """Return content, name, tool calls, id of the answered call, and the status of a failure."""
    status = getattr(message, "status", None)
    return {
        "content": getattr(message, "content", None),
        **present(
            name=getattr(message, "name", None),
            tool_calls=tool_calls(message),
            tool_call_id=getattr(message, "tool_call_id", None),
            status=status if status == "error" else None,
        ),
    }


def tool_output(output: Any) -> tuple[Any, bool]:
    """Return the result of a tool as data, and whether it reports an error."""
    if isinstance(output, BaseMessage):
        return output.content, _is_failed(output)
    if isinstance(output, Command):
        update = _update(output)
        return _command_fields(output, update), any(map(_is_failed, _messages_of(update)))
    if isinstance(output, list) and any(isinstance(one, (BaseMessage, Command)) for one in output):
        results = [tool_output(one) for one in output]
        return [result for result, _ in results], any(failed for _, failed in results)
    return output, False


def _is_failed(message: Any) -> bool:
    return isinstance(message, ToolMessage) and message.status == "error"


def _update(command: Any) -> Any:
    """Return the update of a command; pairs of keys and values as a dict."""
    update = command.update
    is_list = isinstance(update, (list, tuple)) and bool(update)
    if is_list and all(isinstance(one, tuple) and len(one) == 2 for one in update):  # noqa: PLR2004
        return dict(update)
    return update


def _command_fields(command: Any, update: Any) -> dict[str, Any]:
    goto = command.goto
    nodes = [_target(one) for one in goto] if isinstance(goto, (list, tuple)) else _target(goto)
    fields = present(goto=nodes, graph=command.graph, resume=command.resume)
    return {**({} if update is None else {"update": _plain(update)}), **fields}


def _target(node: Any) -> Any:
    return {"node": node.node, "arg": _plain(node.arg)} if isinstance(node, Send) else node


def _plain(value: Any) -> Any:
    """Return messages as their type and fields, other values as they are."""
    if isinstance(value, BaseMessage):
        return {"type": value.type, **message_fields(value)}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return value


def _messages_of(update: Any) -> Iterable[Any]:
    """Return the messages in an update of a graph's state, under any key."""
    values = update.values() if isinstance(update, Mapping) else [update]
    for value in values:
        if isinstance(value, BaseMessage):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from value
