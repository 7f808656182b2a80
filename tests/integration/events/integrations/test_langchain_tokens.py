"""Streamed tokens: few events, soon, in order, whole, and without secrets that are cut in two."""

import asyncio
import threading
import time
from datetime import datetime, timedelta
from itertools import pairwise
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
from events.publisher import RedisStreamPublisher, get_publisher
from events.streams.clients import get_async_redis, get_redis
from tests.support.graphs import (
    QUESTION,
    State,
    add,
    kinds,
    node_graph,
    of_kind,
    published,
    thought,
)


class Speaker(BaseChatModel):
    """Streams what `words` gives, in `stream` and, with its pauses, in `astream`."""

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
    """A graph in which a model streams these words."""

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


def watched(**options):
    return create_redis_callback_handler("abc", get_publisher(), **options)


def awatched(**options):
    return create_redis_callback_handler("abc", RedisStreamPublisher(get_async_redis()), **options)


def test_a_model_that_pauses_is_seen_at_once():
    def words():
        yield from ("one", " two", " three")
        for _ in range(500):  # until somebody sees it
            if seen := thought(published()):
                break
            time.sleep(0.01)
        yield from (" four", f" saw {seen}")

    handler = watched()
    speaking(words).invoke(QUESTION, config={"callbacks": [handler]})
    # The last word may not be over: it could become an address.
    assert thought(published()) == "one two three four saw one two "
    assert handler.failures == 0


async def test_a_model_of_an_async_graph_that_pauses_is_seen_at_once():
    async def words():
        for word in ("one", " two", " three"):
            yield word
        for _ in range(500):
            if seen := thought(published()):
                break
            await asyncio.sleep(0.01)
        yield f" saw {seen}"

    handler = awatched()
    await aspeaking(words).ainvoke(QUESTION, config={"callbacks": [handler]})
    assert thought(published()) == "one two three saw one two "
    assert handler.failures == 0


async def test_a_sync_model_in_a_thread_of_an_async_graph_is_seen_at_once():
    def words():
        yield from ("one", " two")
        for _ in range(500):
            if seen := thought(published()):
                break
            time.sleep(0.01)
        yield f" saw {seen}"

    await speaking(words).ainvoke(QUESTION, config={"callbacks": [awatched()]})
    assert thought(published()) == "one two saw one "


def moments():
    times = [e["timestamp"] for e in published() if e["event_type"] == "thought"]
    return [datetime.fromisoformat(one) for one in times]


def expect_pauses_between():
    told = moments()
    gaps = [after - before for before, after in pairwise(told[:-1])]
    assert len(gaps) > 1
    assert min(gaps) > timedelta(seconds=0.095)


def endless():
    """At full speed, until there are five events or hope is lost."""
    for number in range(1_000_000):
        if number % 1000 == 0 and get_redis().xlen("job_events:abc") > 6:
            return
        yield f" word{number}"


def test_tokens_at_full_speed_are_an_event_in_100_ms():
    speaking(endless).invoke(QUESTION, config={"callbacks": [watched()]})
    expect_pauses_between()


async def test_tokens_of_an_async_model_at_full_speed_are_an_event_in_100_ms():
    async def words():
        for word in endless():
            await asyncio.sleep(0)
            yield word

    await aspeaking(words).ainvoke(QUESTION, config={"callbacks": [awatched()]})
    expect_pauses_between()


def test_branches_that_stream_at_once_keep_their_order():
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
    handler = watched()
    graph.compile().invoke(QUESTION, config={"callbacks": [handler]})
    texts = {}
    for data in of_kind("thought"):
        texts.setdefault(data["run_id"], []).append(data["text"])
    assert ["".join(parts) for parts in texts.values()] == ["".join(words)] * 6
    assert len(of_kind("thought")) > 6
    assert kinds()[-1] == "done"


@pytest.mark.parametrize("letter", ["x", "ü", "\x01", "😀"])
def test_a_text_larger_than_an_event_comes_in_pieces(letter):
    text = (letter * 50_000 + " ") * 8
    handler = watched()
    speaking(lambda: [text]).invoke(QUESTION, config={"callbacks": [handler]})
    assert thought(published()) == text
    assert len(of_kind("thought")) > 1
    assert handler.failures == 0


def test_halves_of_characters_and_nuls_are_taken():
    handler = watched()
    speaking(lambda: ["a\x00", "\ud83d", " b"]).invoke(QUESTION, config={"callbacks": [handler]})
    assert thought(published()) == "a\ufffd? b"
    assert handler.failures == 0


def test_odd_tokens_break_nothing():
    log = RunRecorder("abc")
    run = uuid4()
    log.chat_model_start({}, [], run_id=run)
    for token in (
        "",
        [],
        [{"type": "text", "text": "a"}, "b", {"type": "image"}],
        None,
        5,
        {"x": 1},
    ):
        log.llm_token(token, run)
    log.llm_token("unknown run", uuid4())
    (event,) = log.llm_end(None, run_id=run)
    assert event["data"]["text"] == "ab"


SAID = [
    ("Use sk-" + "ant-api03-Ab12Cd34_Ef56 now.", "Use [redacted] now."),
    ("Mail anna@example.com, please", "Mail [redacted], please"),
    ("The password is hunter2! Yes", "The password is [redacted] Yes"),
    ("Authorization: Bearer abc.def\nfine", "Authorization: [redacted]\nfine"),
    ('{"password": "correct horse", "a": 1}', '{"password": [redacted], "a": 1}'),
    ("-----BEGIN RSA PRIVATE KEY-----\nMII E\n-----END RSA PRIVATE KEY-----\nok", "[redacted]\nok"),
]


@pytest.mark.parametrize(("text", "shown"), SAID)
def test_a_secret_that_is_cut_by_a_flush_is_not_seen(text, shown):
    """After each character a flush, as if the model paused there."""
    log = RunRecorder("abc")
    run = uuid4()
    log.chat_model_start({}, [], run_id=run)
    events = []
    for letter in text:
        log.llm_token(letter, run)
        events += log.flush()
    assert events, "nothing came before the end"
    events += log.llm_end(None, run_id=run)
    assert thought(events) == shown


def test_a_secret_of_a_model_that_pauses_in_it():
    def words():
        yield from ("Mail to", " anna")
        for _ in range(500):
            if thought(published()):
                break
            time.sleep(0.01)
        yield from ("@exam", "ple.com", " today")

    speaking(words).invoke(QUESTION, config={"callbacks": [watched()]})
    texts = [data["text"] for data in of_kind("thought")]
    assert texts == ["Mail to ", "[redacted] today"]


def test_a_handler_that_outlives_its_loop():
    """A flush that was due when the loop was closed never comes, and keeps no other from coming."""
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
            if "one two " in thought(events):
                break
            await asyncio.sleep(0.01)
        yield "seen" if "one two " in thought(events) else "late"

    publisher = Publisher(redis.asyncio.Redis.from_url("unix:///nowhere"))
    handler = create_redis_callback_handler("abc", publisher)
    for words in (quick, pausing):
        asyncio.run(aspeaking(words).ainvoke(QUESTION, config={"callbacks": [handler]}))
    assert thought(events) == "some wordsone two seen"
    assert handler.failures == 0


def test_what_was_said_before_a_failure_is_told_before_it():
    def words():
        yield from ("one", " two")
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        speaking(words).invoke(QUESTION, config={"callbacks": [watched()]})
    assert kinds()[-2:] == ["thought", "error"]
    assert thought(published()) == "one two"


def test_what_happens_while_a_model_speaks_stands_in_its_place_among_its_words():
    """Long before a flush is due."""

    def think(_state: State, config: RunnableConfig):
        words = Speaker(words=lambda: iter(["One ", "two ", "three "])).stream("x", config)
        next(words)
        dispatch_custom_event("heard", {"number": 1}, config=config)
        next(words)
        add.invoke({"a": 1, "b": 2}, config)
        assert len(list(words)) > 0
        return {}

    node_graph(think).invoke(QUESTION, config={"callbacks": [watched()]})
    thoughts = ["thought", "custom_event", "thought", "tool_call", "tool_result", "thought", "done"]
    assert kinds() == ["phase_update", "phase_update", *thoughts]
    assert [data["text"] for data in of_kind("thought")] == ["One ", "two ", "three "]


def test_a_text_that_is_not_recorded_is_not_kept():
    log = RunRecorder("abc", record=RecordOptions(model_text=False))
    run = uuid4()
    log.chat_model_start({}, [], run_id=run)
    assert log.llm_token("secret", run) is None
    (event,) = log.llm_end(None, run_id=run)
    assert event["data"]["withheld"] == ["text"]
    assert "secret" not in str(event)


def test_a_timer_that_finds_no_redis_breaks_nothing(caplog):
    handler = watched()
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


async def test_tokens_take_no_detour_in_an_async_graph():
    """LangChain makes a coroutine, a thread or an event loop for what is no plain function."""
    handler = create_redis_callback_handler("abc", RedisStreamPublisher(get_async_redis()))
    assert not asyncio.iscoroutinefunction(handler.on_llm_new_token)
    assert not asyncio.iscoroutinefunction(handler.on_stream_event)
    assert handler.run_inline
    assert isinstance(handler, BaseCallbackHandler)
