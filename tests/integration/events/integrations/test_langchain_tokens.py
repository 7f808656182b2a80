"""Streamed tokens: batching, latency, order, completeness and redaction across flushes."""

import asyncio
import threading
import time
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
import redis.asyncio
from langchain_core.callbacks import BaseCallbackHandler, dispatch_custom_event
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph

from events.integrations.langchain import RecordOptions, RunRecorder, create_redis_callback_handler
from events.publisher import RedisStreamPublisher
from events.streams.clients import get_redis
from tests.support.graphs import (
    QUESTION,
    State,
    add,
    async_handler,
    data_of,
    event_types,
    node_graph,
    published,
    sync_handler,
    thought_text,
)


class Speaker(BaseChatModel):
    """Streams the words that the callable `words` yields."""

    words: object

    @property
    def _llm_type(self):
        return "speaker"

    def _generate(self, *args, **kwargs):
        raise NotImplementedError

    def _stream(self, *args, **kwargs):
        for word in self.words():
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))


class AsyncSpeaker(Speaker):
    async def _astream(self, *args, **kwargs):
        async for word in self.words():
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))


def speaking(words):
    """Return a graph with a model that streams these words."""

    def think(_state: State, config: RunnableConfig):
        for _ in Speaker(words=words).stream("x", config):
            pass
        return {}

    return node_graph(think)


def aspeaking(words):
    async def think(_state: State, config: RunnableConfig):
        async for _ in AsyncSpeaker(words=words).astream("x", config):
            pass
        return {}

    return node_graph(think)


def test_text_is_published_while_a_model_pauses():
    def words():
        yield from ("one", " two", " three")
        for _ in range(500):  # until the text is published
            if seen := thought_text(published()):
                break
            time.sleep(0.01)
        yield from (" four", f" saw {seen}")

    handler = sync_handler()
    speaking(words).invoke(QUESTION, config={"callbacks": [handler]})
    # The last word is held back: it may be part of an address.
    assert thought_text(published()) == "one two three four saw one two "
    assert handler.failures == 0


async def test_text_is_published_while_a_model_of_an_async_graph_pauses():
    async def words():
        for word in ("one", " two", " three"):
            yield word
        for _ in range(500):
            if seen := thought_text(published()):
                break
            await asyncio.sleep(0.01)
        yield f" saw {seen}"

    handler = async_handler()
    await aspeaking(words).ainvoke(QUESTION, config={"callbacks": [handler]})
    assert thought_text(published()) == "one two three saw one two "
    assert handler.failures == 0


async def test_text_is_published_while_a_sync_model_of_an_async_graph_pauses():
    def words():
        yield from ("one", " two")
        for _ in range(500):
            if seen := thought_text(published()):
                break
            time.sleep(0.01)
        yield f" saw {seen}"

    await speaking(words).ainvoke(QUESTION, config={"callbacks": [async_handler()]})
    assert thought_text(published()) == "one two saw one "


def thought_times():
    times = [e["timestamp"] for e in published() if e["event_type"] == "thought"]
    return [datetime.fromisoformat(one) for one in times]


def assert_flush_interval():
    times = thought_times()[:-1]
    assert len(times) > 2
    # A thread that runs late shortens the interval after it, but not those of the others.
    assert times[-1] - times[0] > timedelta(seconds=0.1) * (len(times) - 2)


def endless():
    """Yield words without pauses until there are more than six events."""
    for number in range(1_000_000):
        if number % 1000 == 0 and get_redis().xlen("job_events:abc") > 6:
            return
        yield f" word{number}"


def test_tokens_without_pauses_are_batched_for_100_ms():
    speaking(endless).invoke(QUESTION, config={"callbacks": [sync_handler()]})
    assert_flush_interval()


async def test_tokens_of_an_async_model_are_batched_for_100_ms():
    async def words():
        for word in endless():
            await asyncio.sleep(0)
            yield word

    await aspeaking(words).ainvoke(QUESTION, config={"callbacks": [async_handler()]})
    assert_flush_interval()


def test_concurrent_branches_keep_the_order_of_their_tokens():
    words = [f" word{number}" for number in range(12)]

    def slow():
        for word in words:
            time.sleep(0.03)
            yield word

    def think(_state: State, config: RunnableConfig):
        for _ in Speaker(words=slow).stream("x", config):
            pass
        return {}

    graph = StateGraph(State)
    for number in range(6):
        graph.add_node(f"branch{number}", think)
        graph.add_edge(START, f"branch{number}")
    handler = sync_handler()
    graph.compile().invoke(QUESTION, config={"callbacks": [handler]})
    texts = {}
    for data in data_of("thought"):
        texts.setdefault(data["run_id"], []).append(data["text"])
    assert ["".join(parts) for parts in texts.values()] == ["".join(words)] * 6
    assert len(data_of("thought")) > 6
    assert event_types()[-1] == "done"


@pytest.mark.parametrize("letter", ["x", "ü", "\x01", "😀"])
def test_text_larger_than_an_event_is_split(letter):
    text = (letter * 50_000 + " ") * 8
    handler = sync_handler()
    speaking(lambda: [text]).invoke(QUESTION, config={"callbacks": [handler]})
    assert thought_text(published()) == text
    assert len(data_of("thought")) > 1
    assert handler.failures == 0


def test_surrogates_and_nul_are_replaced():
    handler = sync_handler()
    speaking(lambda: ["a\x00", "\ud83d", " b"]).invoke(QUESTION, config={"callbacks": [handler]})
    assert thought_text(published()) == "a\ufffd\ufffd b"
    assert handler.failures == 0


def test_unexpected_tokens_are_ignored():
    recorder = RunRecorder("abc")
    run = uuid4()
    recorder.chat_model_start({}, [], run_id=run)
    for token in (
        "",
        [],
        [{"type": "text", "text": "a"}, "b", {"type": "image"}],
        None,
        5,
        {"x": 1},
    ):
        recorder.llm_token(token, run)
    recorder.llm_token("unknown run", uuid4())
    event, _ = recorder.llm_end(None, run_id=run)
    assert (event["data"]["text"], event["data"]["end"]) == ("ab", True)


STREAMED_SECRETS = [
    ("Use sk-" + "ant-api03-Ab12Cd34_Ef56 now.", "Use [redacted] now."),
    ("Mail anna@example.com, please", "Mail [redacted], please"),
    ("The password is hunter2! Yes", "The password is [redacted] Yes"),
    ("Authorization: Bearer abc.def\nfine", "Authorization: [redacted]\nfine"),
    ('{"password": "correct horse", "a": 1}', '{"password": [redacted], "a": 1}'),
    ("-----BEGIN RSA PRIVATE KEY-----\nMII E\n-----END RSA PRIVATE KEY-----\nok", "[redacted]\nok"),
]


@pytest.mark.parametrize(("text", "redacted"), STREAMED_SECRETS)
def test_secret_across_flushes_is_redacted(text, redacted):
    """A flush after each character."""
    recorder = RunRecorder("abc")
    run = uuid4()
    recorder.chat_model_start({}, [], run_id=run)
    events = []
    for letter in text:
        recorder.llm_token(letter, run)
        events += recorder.flush()
    assert events, "no text was published before the end"
    events += recorder.llm_end(None, run_id=run)
    assert thought_text(events) == redacted


def test_secret_is_redacted_if_the_model_pauses_within_it():
    def words():
        yield from ("Mail to", " anna")
        for _ in range(500):
            if thought_text(published()):
                break
            time.sleep(0.01)
        yield from ("@exam", "ple.com", " today")

    speaking(words).invoke(QUESTION, config={"callbacks": [sync_handler()]})
    texts = [data["text"] for data in data_of("thought")]
    assert texts == ["Mail to ", "[redacted] today"]


def test_handler_that_outlives_its_loop():
    """The flush that was scheduled in a closed loop does not prevent later ones."""
    events = []

    class Publisher(RedisStreamPublisher):
        async def publish_event(self, job_id, event_data):
            events.append(event_data)
            return "1-0"

    async def quick():
        for word in ("some", " words"):
            yield word

    async def pausing():
        yield "one two "
        for _ in range(500):
            if "one two " in thought_text(events):
                break
            await asyncio.sleep(0.01)
        yield "seen" if "one two " in thought_text(events) else "late"

    publisher = Publisher(redis.asyncio.Redis.from_url("unix:///nowhere"))
    handler = create_redis_callback_handler("abc", publisher)
    for words in (quick, pausing):
        asyncio.run(aspeaking(words).ainvoke(QUESTION, config={"callbacks": [handler]}))
    assert thought_text(events) == "some wordsone two seen"
    assert handler.failures == 0


def test_text_before_an_error_is_published_before_it():
    def words():
        yield from ("one", " two")
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        speaking(words).invoke(QUESTION, config={"callbacks": [sync_handler()]})
    assert event_types()[-4:] == ["thought", "error", "phase_result", "error"]
    assert thought_text(published()) == "one two"


def test_text_is_published_before_events_that_follow_it():
    """Before the next flush is due."""

    def think(_state: State, config: RunnableConfig):
        words = Speaker(words=lambda: iter(["One ", "two ", "three "])).stream("x", config)
        next(words)
        dispatch_custom_event("received", {"number": 1}, config=config)
        next(words)
        add.invoke({"a": 1, "b": 2}, config)
        assert len(list(words)) > 0
        return {}

    node_graph(think).invoke(QUESTION, config={"callbacks": [sync_handler()]})
    assert event_types()[2:-1] == [
        "model_call", "thought", "custom_event", "thought", "tool_call", "tool_result", "thought",
        "model_result", "phase_result",
    ]  # fmt: skip
    assert [data["text"] for data in data_of("thought")] == ["One ", "two ", "three "]


def test_text_is_not_buffered_unless_recorded():
    recorder = RunRecorder("abc", record=RecordOptions(model_text=False))
    run = uuid4()
    recorder.chat_model_start({}, [], run_id=run)
    assert recorder.llm_token("secret", run) is None
    event, result = recorder.llm_end(None, run_id=run)
    assert event["data"]["withheld"] == result["data"]["withheld"] == ["text"]
    assert "secret" not in f"{event} {result}"


def test_failed_flush_is_logged(caplog):
    handler = sync_handler()
    failed = threading.Event()

    def publish(*_args):
        failed.set()
        raise OSError("password=hunter2")

    def words():
        yield " one "
        assert failed.wait(10)

    handler._publisher.publish_event = publish
    speaking(words).invoke(QUESTION, config={"callbacks": [handler]})
    assert handler.failures > 0
    assert "[redacted]" in str([vars(record) for record in caplog.records])
    assert "hunter2" not in str([vars(record) for record in caplog.records])


async def test_token_callbacks_are_plain_functions():
    """For others LangChain creates a coroutine, a thread or an event loop per token."""
    handler = async_handler()
    assert not asyncio.iscoroutinefunction(handler.on_llm_new_token)
    assert not asyncio.iscoroutinefunction(handler.on_stream_event)
    assert handler.run_inline
    assert isinstance(handler, BaseCallbackHandler)
