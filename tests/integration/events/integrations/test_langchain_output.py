"""Output of models other than text, and results of tools that are messages or commands."""

from typing import Any
from uuid import uuid4

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, LLMResult
from langchain_core.tools import tool
from langgraph.types import Command, Send

from events.integrations.langchain import RecordOptions, RunRecorder
from tests.support.graphs import data_of, event_types, published, sync_handler
from tests.support.spans import span_trees

EVERYTHING = RecordOptions(prompts=True, tool_inputs=True)
NOTHING = RecordOptions(model_text=False, tool_outputs=False)


@pytest.fixture(autouse=True)
def _check_spans():
    yield
    span_trees(published())


class Chunks(BaseChatModel):
    """Streams messages or the content of messages."""

    chunks: Any

    @property
    def _llm_type(self):
        return "chunks"

    def _generate(self, *args, **kwargs):
        raise NotImplementedError

    def _stream(self, *args, **kwargs):
        for chunk in self.chunks:
            message = chunk if isinstance(chunk, AIMessageChunk) else AIMessageChunk(chunk)
            yield ChatGenerationChunk(message=message)


def answer(message, record=EVERYTHING):
    handler = sync_handler(record=record)
    model = GenericFakeChatModel(messages=iter([message]))
    model.invoke([HumanMessage("Go on.")], config={"callbacks": [handler]})
    assert handler.failures == 0
    (result,) = data_of("model_result")
    return result


def stream(*chunks, record=EVERYTHING):
    handler = sync_handler(record=record)
    for _ in Chunks(chunks=chunks).stream("Go on.", config={"callbacks": [handler]}):
        pass
    assert handler.failures == 0
    (result,) = data_of("model_result")
    return result


def thoughts():
    return [(data.get("kind"), data["text"]) for data in data_of("thought")]


def extra(**fields):
    return AIMessageChunk("", additional_kwargs=fields)


THINKING = {"type": "thinking", "thinking": "12 is even", "signature": "s"}
SUMMARY = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "12 is even"}]}
BEDROCK = {"type": "reasoning_content", "reasoning_content": {"text": "12 is even"}}
DETAIL = {"type": "reasoning.text", "text": "12 is even"}
REASONED = [("reasoning", "12 is even"), (None, "Yes")]
YES = {"type": "text", "text": "Yes"}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (AIMessage([THINKING, YES]), REASONED),
        (AIMessage([SUMMARY, YES]), REASONED),
        (AIMessage([BEDROCK, YES]), REASONED),
        (AIMessage([{"type": "reasoning", "reasoning": "12 is even"}, YES]), REASONED),
        (AIMessage("Yes", additional_kwargs={"reasoning_content": "12 is even"}), REASONED),
        (AIMessage("Yes", additional_kwargs={"reasoning": "12 is even"}), REASONED),
        (AIMessage("Yes", additional_kwargs={"reasoning_details": [DETAIL]}), REASONED),
        (AIMessage([{"type": "non_standard", "value": THINKING}, YES]), REASONED),
        (AIMessage([{"type": "refusal", "refusal": "I cannot"}]), [("refusal", "I cannot")]),
        (AIMessage("", additional_kwargs={"refusal": "I cannot"}), [("refusal", "I cannot")]),
        (AIMessage(["Ye", "s"]), [(None, "Yes")]),
        (AIMessage(""), []),
    ],
)
def test_reasoning_and_refusals(message, expected):
    result = answer(message)
    assert thoughts() == expected
    assert [data["end"] for data in data_of("thought")[-1:]] == [True] * bool(expected)
    assert result["withheld"] == []


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        (
            [[{**THINKING, "index": 0}], [{**YES, "index": 1}], [{**YES, "index": 1}]],
            [("reasoning", "12 is even"), (None, "YesYes")],
        ),
        ([extra(reasoning_content="12 is"), extra(reasoning_content=" even"), "Yes"], REASONED),
        ([extra(refusal="I can"), extra(refusal="not")], [("refusal", "I cannot")]),
        ([[YES], [SUMMARY], [YES]], [(None, "Yes"), ("reasoning", "12 is even"), (None, "Yes")]),
    ],
)
def test_streamed_reasoning_and_refusals(chunks, expected):
    result = stream(*chunks)
    assert thoughts() == expected
    assert [data.get("end") for data in data_of("thought")] == [None] * (len(expected) - 1) + [True]
    assert 0 <= result["seconds_to_first_token"] <= result["seconds"]


def test_last_piece_of_a_text_that_was_published_before():
    handler = sync_handler(record=EVERYTHING)

    class Flushed(Chunks):
        def _stream(self, *args, **kwargs):
            for chunk in super()._stream():
                yield chunk
                handler._handle(type(handler._recorder).flush)

    for _ in Flushed(chunks=["All of it. "]).stream("Go on.", config={"callbacks": [handler]}):
        pass
    assert [(data["text"], data.get("end")) for data in data_of("thought")] == [
        ("All of it. ", None),
        ("", True),
    ]


def test_withheld_reasoning():
    result = answer(AIMessage([THINKING, YES]), NOTHING)
    assert result["withheld"] == ["reasoning", "text"]
    assert [data["withheld"] for data in data_of("thought")] == [["reasoning", "text"]]
    assert "12 is even" not in str(published())


CALL = {"name": "Weather", "args": {"city": "Oslo", "days": 2}, "id": "1"}


def test_tool_calls_that_no_tool_handles():
    assert answer(AIMessage("", tool_calls=[CALL]))["tool_calls"] == [CALL]


@pytest.mark.parametrize(
    ("tool_inputs", "args", "withheld"),
    [
        (False, None, ["tool_calls.args"]),
        ({"city"}, {"city": "Oslo"}, ["tool_calls.args.days"]),
    ],
)
def test_arguments_of_tool_calls_are_inputs_of_tools(tool_inputs, args, withheld):
    result = answer(AIMessage("", tool_calls=[CALL]), RecordOptions(tool_inputs=tool_inputs))
    (call,) = result["tool_calls"]
    assert (call["name"], call["id"], call.get("args")) == ("Weather", "1", args)
    assert result["withheld"] == withheld


def test_calls_without_arguments():
    @tool
    def now() -> str:
        """Tell the time."""
        return "noon"

    now.invoke({}, config={"callbacks": [sync_handler(record=EVERYTHING)]})
    assert [data["input"] for data in data_of("tool_call")] == [{}]
    call = {"name": "now", "args": {}, "id": "1"}
    assert answer(AIMessage("", tool_calls=[call]))["tool_calls"] == [call]


def test_streamed_tool_call():
    chunk = {"name": "Weather", "args": '{"city": "Oslo"}', "id": "1", "index": 0}
    result = stream(AIMessageChunk("", tool_call_chunks=[chunk]))
    assert result["tool_calls"][0]["args"] == {"city": "Oslo"}
    assert "seconds_to_first_token" in result
    assert "thought" not in event_types()


def test_invalid_and_legacy_tool_calls():
    bad = {"name": "Weather", "args": "{bad", "id": "1", "error": "not JSON"}
    result = answer(AIMessage("", invalid_tool_calls=[bad]))
    assert result["tool_calls"][0]["args"] == "{bad"
    assert result["tool_calls"][0]["type"] == "invalid_tool_call"


def test_legacy_function_call():
    legacy = {"function_call": {"name": "Weather", "arguments": '{"city": "Oslo"}'}}
    (call,) = answer(AIMessage("", additional_kwargs=legacy))["tool_calls"]
    assert (call["name"], call["args"]) == ("Weather", '{"city": "Oslo"}')


SEARCHED = [
    {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "tea"}},
    {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"url": "https://t"}]},
    {"type": "text", "text": "Tea", "citations": [{"url": "https://t"}]},
]


def test_tools_of_the_provider():
    result = answer(AIMessage(SEARCHED))
    assert result["tool_calls"] == [
        {"name": "web_search", "id": "s1", "type": "server_tool_use", "args": {"query": "tea"}}
    ]
    assert result["content"] == [SEARCHED[1]]
    assert result["citations"] == [{"url": "https://t"}]
    assert thoughts() == [(None, "Tea")]


def test_tools_of_the_provider_withheld():
    result = answer(AIMessage(SEARCHED), NOTHING)
    assert result["withheld"] == ["text", "tool_calls.args", "content.results", "citations"]
    assert "https://t" not in str(published())


CODE = {"type": "code_interpreter_call", "id": "c1", "code": "6 * 7", "outputs": [{"logs": "42"}]}
IMAGE = {"type": "image_generation_call", "id": "i1", "revised_prompt": "A cat", "result": "R0lG"}
MCP = {"type": "mcp_call", "id": "m1", "name": "ask", "arguments": "{}", "output": "yes"}


@pytest.mark.parametrize(
    ("block", "name", "args", "result"),
    [
        (CODE, "code_interpreter_call", "6 * 7", {"outputs": [{"logs": "42"}]}),
        (IMAGE, "image_generation_call", {"revised_prompt": "A cat"}, {"result": "R0lG"}),
        (MCP, "ask", "{}", {"output": "yes"}),
    ],
)
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_calls_of_the_provider_with_their_results(block, name, args, result, is_wrapped):
    content = [{"type": "non_standard", "value": block}] if is_wrapped else [block]
    found = answer(AIMessage(content))
    assert [(call["name"], call["args"]) for call in found["tool_calls"]] == [(name, args)]
    assert found["content"] == [{"type": block["type"], "id": block["id"], **result}]


@pytest.mark.parametrize("block", [CODE, {"type": "non_standard", "value": SEARCHED[1]}])
def test_results_of_the_provider_withheld(block):
    found = answer(AIMessage([block]), RecordOptions(tool_outputs=False))
    assert "content" not in found
    assert "content.results" in found["withheld"]


def test_block_of_a_custom_tool_call():
    block = {"type": "custom_tool_call", "id": "1", "name": "shell", "input": "ls"}
    calls = [{"name": "shell", "args": {"__arg1": "ls"}, "id": "1"}]
    found = answer(AIMessage([block], tool_calls=calls))
    assert found["tool_calls"] == calls
    assert "content" not in found


@pytest.mark.parametrize(
    "fields",
    [
        {"content": [YES, {"type": "image", "url": "https://i"}]},
        {"content": [YES, {"type": "image_url", "image_url": {"url": "https://i"}}]},
        {"content": "Yes", "additional_kwargs": {"audio": {"id": "a", "url": "https://i"}}},
        {"content": [YES, {"type": "redacted_thinking", "data": "https://i"}]},
        {"content": "Yes", "additional_kwargs": {"citations": ["https://i"]}},
        {"content": [{**YES, "annotations": [{"type": "url_citation", "url": "https://i"}]}]},
    ],
)
@pytest.mark.parametrize("record", [EVERYTHING, NOTHING])
def test_other_content(fields, record):
    result = answer(AIMessage(**fields), record)
    names = {"content", "citations"}
    if record is EVERYTHING:
        assert thoughts() == [(None, "Yes")]
        assert "https://i" in str([result.get(name) for name in names])
    else:
        assert names & set(result["withheld"])
        assert "https://i" not in str(published())


def test_alternative_answers():
    recorder, run = RunRecorder("abc"), uuid4()
    recorder.chat_model_start({}, [], run_id=run)
    answers = [ChatGeneration(message=AIMessage(text)) for text in ("one", "two")]
    thought, result = recorder.llm_end(LLMResult(generations=[answers]), run_id=run)
    assert thought["data"]["text"] == "one"
    assert result["data"]["withheld"] == ["alternatives"]


def test_prompt_with_tool_calls_and_results():
    handler = sync_handler(record=EVERYTHING)
    model = GenericFakeChatModel(messages=iter([AIMessage("Sorry.")]))
    failed = ToolMessage("no such city", tool_call_id="1", name="Weather", status="error")
    prompt = [HumanMessage("Hi"), AIMessage("", tool_calls=[CALL]), failed]
    model.invoke(prompt, config={"callbacks": [handler]})
    (call,) = data_of("model_call")
    assert call["messages"] == [
        {"role": "human", "content": "Hi"},
        {"role": "ai", "content": "", "tool_calls": [CALL]},
        {
            "role": "tool",
            "content": "no such city",
            "name": "Weather",
            "tool_call_id": "1",
            "status": "error",
        },
    ]


def test_prompt_without_recorded_tool_inputs():
    handler = sync_handler(record=RecordOptions(prompts=True))
    model = GenericFakeChatModel(messages=iter([AIMessage("Sorry.")]))
    prompt = [HumanMessage("Hi"), AIMessage("", tool_calls=[CALL])]
    model.invoke(prompt, config={"callbacks": [handler]})
    (call,) = data_of("model_call")
    assert call["messages"][1]["tool_calls"] == [{"name": "Weather", "id": "1"}]
    assert call["withheld"] == ["messages.tool_calls.args"]
    assert "Oslo" not in str(published())


def use(output):
    @tool
    def work() -> Any:
        """Work."""
        return output

    handler = sync_handler()
    work.invoke({}, config={"callbacks": [handler]})
    assert handler.failures == 0
    (result,) = data_of("tool_result")
    return result["output"], result["status"]


BAD = ToolMessage("no such file", tool_call_id="1", status="error")
BAD_DATA = {
    "type": "tool", "content": "no such file", "tool_call_id": "1", "status": "error"
}  # fmt: skip


@pytest.mark.parametrize(
    ("output", "expected", "status"),
    [
        (BAD, "no such file", "error"),
        (ToolMessage("fine", tool_call_id="1"), "fine", "done"),
        (AIMessage("fine"), "fine", "done"),
        (
            Command(update={"messages": [BAD], "n": 1}),
            {"update": {"messages": [BAD_DATA], "n": 1}},
            "error",
        ),
        (Command(update={"messages": BAD}), {"update": {"messages": BAD_DATA}}, "error"),
        (Command(update=[("messages", [BAD])]), {"update": {"messages": [BAD_DATA]}}, "error"),
        (Command(update={"notes": [BAD]}), {"update": {"notes": [BAD_DATA]}}, "error"),
        (
            Command(goto="b", graph=Command.PARENT),
            {"goto": "b", "graph": "__parent__"},
            "done",
        ),
        (
            Command(goto=[Send("b", {"messages": [HumanMessage("x")]})]),
            {"goto": [{"node": "b", "arg": {"messages": [{"type": "human", "content": "x"}]}}]},
            "done",
        ),
        ([Command(update={"n": 2}), BAD], [{"update": {"n": 2}}, "no such file"], "error"),
        ([1, 2], [1, 2], "done"),
        (None, None, "done"),
    ],
)
def test_result_of_a_tool(output, expected, status):
    assert use(output) == (expected, status)
