"""Values from the objects that LangChain passes to handlers. Unexpected objects raise nothing."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_INTERNAL_TAGS: Final = re.compile(r"(?:seq:step|graph:step|map:key|retry:attempt|langsmith):.*")
_RETRY: Final = re.compile(r"retry:attempt:([0-9]{1,9})")
_INTERNAL_METADATA: Final = ("langgraph_", "ls_", "lc_", "checkpoint_", "__")
TEXT: Final = "text"
# LangChain's names of token counts, and those of some providers.
_USAGE: Final = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "total_tokens": "total_tokens",
}

Usage = dict[str, int]


def first_generation(response: Any) -> Any:
    """Return the first generation of an LLMResult, None without one."""
    generations: Sequence[Sequence[Any]] = getattr(response, "generations", None) or [[]]
    return generations[0][0] if generations[0] else None


def has_alternatives(response: Any) -> bool:
    """Return whether a model returned several answers; only the first one is recorded."""
    return any(len(one) > 1 for one in getattr(response, "generations", None) or [])


def response_model(response: Any) -> str | None:
    """Return the model's name, if the provider reports it."""
    message = getattr(first_generation(response), "message", None)
    sources = getattr(message, "response_metadata", None), getattr(response, "llm_output", None)
    mappings = [source for source in sources if isinstance(source, Mapping)]
    names = [source.get(key) for source in mappings for key in ("model_name", "model")]
    return next((name for name in names if isinstance(name, str)), None)


def response_usage(response: Any) -> Usage:
    """Return the token counts of an LLMResult under LangChain's names; empty if unknown."""
    total: Usage = {}
    for generations in getattr(response, "generations", None) or []:
        for generation in generations[:1]:
            message = getattr(generation, "message", None)
            add_usage(total, getattr(message, "usage_metadata", None))
    if not total:
        output = getattr(response, "llm_output", None) or {}
        add_usage(total, output.get("token_usage") or output.get("usage"))
    return total


def add_usage(total: Usage, usage: Any) -> None:
    """Add the counts of a usage mapping to `total`."""
    for name, other_name in _USAGE.items() if isinstance(usage, Mapping) else ():
        count = usage.get(name, usage.get(other_name))
        if isinstance(count, int):
            total[name] = total.get(name, 0) + count


def document(found: Any) -> dict[str, Any]:
    """Return text and metadata of a retrieved document."""
    text = getattr(found, "page_content", found)
    return {"text": text, "metadata": getattr(found, "metadata", {})}


def user_tags(tags: Any) -> list[str]:
    """Return the tags that were set by the user."""
    return [tag for tag in tags or () if not _INTERNAL_TAGS.fullmatch(str(tag))]


def retry_attempt(tags: Any) -> int:
    """Return the attempt number of a `with_retry` run; 0 for other runs."""
    found = [match for tag in tags or () if (match := _RETRY.fullmatch(str(tag)))]
    return int(found[0][1]) if found else 0


def user_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata that was set by the user."""
    return {k: v for k, v in metadata.items() if not str(k).startswith(_INTERNAL_METADATA)}


def namespace(metadata: Mapping[str, Any]) -> list[str]:
    """Return the names of the enclosing nodes in nested graphs, outermost first."""
    path = str(metadata.get("langgraph_checkpoint_ns") or "")
    return [part.partition(":")[0] for part in path.split("|") if part]


def present(**values: Any) -> dict[str, Any]:
    """Return the values that are not None and not empty."""
    return {key: value for key, value in values.items() if value not in (None, "", [], {})}
