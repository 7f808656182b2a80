"""What stands in the objects that LangChain gives a handler; nothing here fails on odd ones."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_INTERNAL_TAGS: Final = re.compile(r"(?:seq:step|graph:step|map:key|retry:attempt|langsmith):.*")
_RETRY: Final = re.compile(r"retry:attempt:([0-9]{1,9})")
_INTERNAL_METADATA: Final = ("langgraph_", "ls_", "lc_", "checkpoint_", "__")
_USAGE: Final = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "total_tokens": "total_tokens",
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
}

Usage = dict[str, int]


def token_text(token: Any) -> str:
    """The text of a streamed piece, which some models give as a list of blocks."""
    if isinstance(token, str):
        return token
    blocks = token if isinstance(token, list) else []
    texts = [block.get("text") if isinstance(block, dict) else block for block in blocks]
    return "".join(text for text in texts if isinstance(text, str))


def delta_text(event: Any) -> str:
    """The text of a protocol event of `stream_events(version="v3")`; most have none."""
    delta = event.get("delta") if isinstance(event, Mapping) else None
    text = delta.get("text") if isinstance(delta, Mapping) else None
    return text if isinstance(text, str) else ""


def response_text(response: Any) -> str:
    """The text of an LLMResult's first answer."""
    text = getattr(_first_generation(response), "text", "")
    return text if isinstance(text, str) else ""


def _first_generation(response: Any) -> Any:
    generations: Sequence[Sequence[Any]] = getattr(response, "generations", None) or [[]]
    return generations[0][0] if generations[0] else None


def response_model(response: Any) -> str | None:
    """The name of the model that answered, where the provider says it."""
    message = getattr(_first_generation(response), "message", None)
    told = [getattr(message, "response_metadata", None), getattr(response, "llm_output", None)]
    for place in told:
        for key in ("model_name", "model"):
            if isinstance(place, Mapping) and isinstance(place.get(key), str):
                return str(place[key])
    return None


def response_usage(response: Any) -> Usage:
    """The tokens of all answers of an LLMResult, by LangChain's names; empty if none were told."""
    total: Usage = {}
    for answers in getattr(response, "generations", None) or []:
        for answer in answers[:1]:
            add_usage(total, getattr(getattr(answer, "message", None), "usage_metadata", None))
    if not total:
        output = getattr(response, "llm_output", None) or {}
        add_usage(total, output.get("token_usage") or output.get("usage"))
    return total


def add_usage(total: Usage, more: Any) -> None:
    """Add what a usage mapping says to a total."""
    for key, name in _USAGE.items() if isinstance(more, Mapping) else ():
        if isinstance(more.get(key), int) and not (key != name and name in more):
            total[name] = total.get(name, 0) + more[key]


def messages(batch: Any) -> list[tuple[str, Any]]:
    """The role and the content of each message that a model is given."""
    return [
        (str(getattr(message, "type", "message")), getattr(message, "content", None))
        for conversation in batch or []
        for message in conversation
    ]


def tool_answer(output: Any) -> tuple[Any, bool]:
    """What a tool answered, and whether it says that it failed."""
    return getattr(output, "content", output), getattr(output, "status", None) == "error"


def document(found: Any) -> dict[str, Any]:
    """A document that a retriever found."""
    return {
        "text": getattr(found, "page_content", str(found)),
        "metadata": getattr(found, "metadata", {}),
    }


def error_message(error: BaseException) -> str:
    """What an error says; one of pydantic without the values that it was given."""
    errors = getattr(error, "errors", None)
    if type(error).__name__ != "ValidationError" or not callable(errors):
        return said(error)
    try:
        told = errors(include_input=False, include_context=False, include_url=False)
    except TypeError:  # another package's ValidationError
        return said(error)
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in told)


def said(error: BaseException) -> str:
    """The error's words, if it has any: those of some classes fail over them."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - its own fault must not hide it
        return ""


def own_tags(tags: Any) -> list[str]:
    """The tags that are the user's."""
    return [tag for tag in tags or () if not _INTERNAL_TAGS.fullmatch(str(tag))]


def retry_attempt(tags: Any) -> int:
    """Which attempt of `with_retry` a run is: 1 is the first, 0 says that it is none."""
    found = [match for tag in tags or () if (match := _RETRY.fullmatch(str(tag)))]
    return int(found[0][1]) if found else 0


def own_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata that is the user's."""
    return {k: v for k, v in metadata.items() if not str(k).startswith(_INTERNAL_METADATA)}


def namespace(metadata: Mapping[str, Any]) -> list[str]:
    """Where in nested graphs a run is: the names of the nodes, from the outermost on."""
    path = str(metadata.get("langgraph_checkpoint_ns") or "")
    return [part.partition(":")[0] for part in path.split("|") if part]
