"""Chat model selection: the model that a name selects, or the offline model."""

from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel

from jobs.writing.exceptions import WritingError
from jobs.writing.offline_model import OfflineChatModel


def create_chat_model(name: str) -> BaseChatModel:
    """Return the model of a name such as ``openai:gpt-5``, or the offline model.

    The offline model is named "" or ``offline:0.02``, the pause between two tokens in seconds.
    Raises WritingError if the name is invalid, or if a package or an API key is missing.
    """
    provider, _, model = name.partition(":")
    if provider in {"", "offline"}:
        return OfflineChatModel(token_delay=float(model or 0))
    try:
        return init_chat_model(name)
    # Each provider's package raises its own errors, for example for a missing key.
    except Exception as error:
        # The first line only: pydantic prints the input, which may contain a key, below it.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:500]
        raise WritingError(f"The chat model {name!r} cannot be used: {reason}") from error
