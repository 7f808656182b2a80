"""Which chat model plans and writes: the one that is named, or the offline one."""

import re

from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel

from jobs.writing.errors import ModelNameError
from jobs.writing.offline import OfflineChatModel

OFFLINE = "offline"
_NAME = re.compile(r"^(?P<provider>[A-Za-z][A-Za-z0-9_-]*):(?P<model>\S+)$")
_MAX_REASON = 700


def get_chat_model(name: str | None, *, token_delay: float = 0.0) -> BaseChatModel:
    """The chat model of a name such as ``openai:gpt-5``; without a name, the offline one.

    `token_delay` is the offline model's pause between two tokens, in seconds. Raises
    ModelNameError, which says what is wrong and what to write or to install instead.
    """
    name = (name or OFFLINE).strip()
    if name in {"", OFFLINE}:
        return OfflineChatModel(token_delay=token_delay)
    if not (parts := _NAME.match(name)):
        raise ModelNameError(
            f"{name[:100]!r} is not the name of a chat model. Write provider:model, such as "
            "openai:gpt-5 or ollama:llama3.2, or leave it empty for the offline model."
        )
    return _from_provider(parts["provider"], parts["model"])


def is_offline(model: BaseChatModel) -> bool:
    """Whether the model is the offline one."""
    return isinstance(model, OfflineChatModel)


def _from_provider(provider: str, model: str) -> BaseChatModel:
    name = f"{provider}:{model}"
    try:
        return init_chat_model(model, model_provider=provider)
    except ImportError as error:
        raise ModelNameError(f"A package for {name!r} is missing. {_first_line(error)}") from error
    # Each provider's package has errors of its own, for a missing key above all.
    except Exception as error:
        raise ModelNameError(f"{name!r} cannot be used. {_reason(error)}") from error


def _reason(error: Exception) -> str:
    # Beyond the first line, pydantic shows the values that it was given, which may be keys.
    if type(error) is ValueError:
        return " ".join(str(error).split())[:_MAX_REASON]
    return f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["(no message)"])[0][:_MAX_REASON]
