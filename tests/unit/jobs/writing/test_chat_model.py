"""Selection of the chat model by its name."""

import pytest
from langchain_core.language_models import BaseChatModel

from jobs.writing import chat_model
from jobs.writing.chat_model import create_chat_model
from jobs.writing.exceptions import WritingError
from jobs.writing.offline_model import OfflineChatModel
from tests.unit.jobs.writing.support import provider


def test_without_a_name_the_model_is_the_offline_model() -> None:
    for name, delay in (("", 0.0), ("offline:0.25", 0.25)):
        model = create_chat_model(name)
        assert isinstance(model, OfflineChatModel)
        assert model.token_delay == delay


def test_name_selects_a_model_of_langchain(monkeypatch: pytest.MonkeyPatch) -> None:
    model = provider("hello")
    monkeypatch.setattr(chat_model, "init_chat_model", {"ollama:llama3.2:1b": model}.__getitem__)
    assert create_chat_model("ollama:llama3.2:1b") is model


@pytest.mark.parametrize("name", ["nosuch:model", "openai:gpt-5"])
def test_unknown_provider_or_a_missing_package_fails_with_the_name(name: str) -> None:
    message = f"The chat model '{name}' cannot be used: .*(provider|package)"
    with pytest.raises(WritingError, match=message):
        create_chat_model(name)


def test_error_of_a_provider_is_shown_without_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> BaseChatModel:
        raise RuntimeError("The api_key must be set\ninput_value='sk-secret'")

    monkeypatch.setattr(chat_model, "init_chat_model", fail)
    with pytest.raises(WritingError, match="The api_key must be set") as raised:
        create_chat_model("openai:gpt-5")
    assert "secret" not in str(raised.value)
