"""Which chat model a name means."""

import pytest
from langchain_core.language_models import BaseChatModel

from jobs.writing import chat
from jobs.writing.chat import get_chat_model, is_offline
from jobs.writing.errors import ModelNameError, WritingError
from jobs.writing.offline import OfflineChatModel
from tests.unit.jobs.writing.support import says


@pytest.mark.parametrize("name", [None, "", "  ", "offline"])
def test_without_a_name_the_model_is_the_offline_one(name: str | None) -> None:
    model = get_chat_model(name, token_delay=0.25)
    assert isinstance(model, OfflineChatModel)
    assert model.token_delay == 0.25
    assert is_offline(model)


@pytest.mark.parametrize("name", ["gpt-5", "openai:", ":gpt", "open ai:gpt", "openai:gpt 5", "\n:"])
def test_a_name_of_another_form_says_what_to_write(name: str) -> None:
    with pytest.raises(ModelNameError, match="Write provider:model"):
        get_chat_model(name)


def test_an_unknown_provider_says_which_there_are() -> None:
    with pytest.raises(ModelNameError, match=r"nosuch:model.*anthropic.*openai") as raised:
        get_chat_model("nosuch:model")
    assert isinstance(raised.value, WritingError)


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> BaseChatModel:
        raise ImportError("It needs langchain-openai.\nInstall it with `pip install …`")

    monkeypatch.setattr(chat, "init_chat_model", missing)
    with pytest.raises(ModelNameError, match=r"missing\. It needs langchain-openai"):
        get_chat_model("openai:gpt-5")


def test_what_a_provider_says_is_told_without_the_values_that_it_got(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class NoKeyError(Exception):
        pass

    def refuse(*_: object, **__: object) -> BaseChatModel:
        raise NoKeyError("The api_key must be set\ninput_value='sk-secret'")

    monkeypatch.setattr(chat, "init_chat_model", refuse)
    with pytest.raises(ModelNameError, match="NoKeyError: The api_key must be set") as raised:
        get_chat_model("openai:gpt-5")
    assert "secret" not in str(raised.value)


def test_a_named_model_is_asked_of_langchain(monkeypatch: pytest.MonkeyPatch) -> None:
    real = says("hello")

    def init(model: str, *, model_provider: str) -> BaseChatModel:
        assert (model, model_provider) == ("llama3.2:1b", "ollama")
        return real

    monkeypatch.setattr(chat, "init_chat_model", init)
    assert get_chat_model("ollama:llama3.2:1b") is real
    assert not is_offline(real)
