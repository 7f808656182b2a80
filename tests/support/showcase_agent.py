"""A market research agent: six analysts at once, tools that fail, tokens, and an upload."""

import json
import operator
import time
from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

from langchain.agents import create_agent
from langchain.agents.middleware import ToolErrorMiddleware
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

TOPICS = ("market size", "competitors", "pricing", "regulation", "risks", "customers")
FINDINGS = {
    "market size": "Home batteries in the EU grew by 34 % to 12.8 GWh in 2025. Germany and Italy"
    " are 61 % of it; growth moves to Spain and Poland.",
    "competitors": "Four vendors hold 58 %. Two of them sell through electricians only, and none"
    " offers a service contract beyond ten years.",
    "pricing": "A kilowatt-hour costs 412 EUR installed, 18 % less than a year ago. Half of the"
    " price is installation, which hardly falls.",
    "regulation": "The battery regulation requires a passport from February 2027. It names the"
    " carbon footprint, so that cells from coal regions lose public tenders.",
    "risks": "The table of supplier risks does not exist. From news: 71 % of the cathodes come"
    " from three plants in one province.",
    "customers": "Buyers want a fixed price and one contact. 44 % abandon the purchase between"
    " the first visit and the offer, which takes 23 days.",
}
REPORT = (
    "# Home batteries in the EU\n\n"
    + "\n\n".join(f"## {topic.capitalize()}\n\n{FINDINGS[topic]}" for topic in TOPICS)
    + "\n\n## Recommendation\n\nEnter Spain and Poland with installation at a fixed price and a"
    " service contract of fifteen years. Prepare the battery passport before the first tender."
)


class ScriptedModel(GenericFakeChatModel):
    """Streams its answers in turn, one word in `word_seconds`, and reports tokens."""

    model: str
    streaming: bool
    word_seconds: float = 0.02

    def bind_tools(self, *_args: Any, **_kwargs: Any) -> Any:
        return self

    def _stream(self, *_args: Any, **_kwargs: Any) -> Iterator[ChatGenerationChunk]:
        message = next(self.messages)
        time.sleep(8 * self.word_seconds)
        for word in str(message.content).split(" ") if message.content else []:
            time.sleep(self.word_seconds)
            yield ChatGenerationChunk(message=AIMessageChunk(f"{word} "))
        calls = [
            {"name": call["name"], "args": json.dumps(call["args"]), "id": call["id"], "index": n}
            for n, call in enumerate(message.tool_calls)
        ]
        usage = message.usage_metadata
        last = AIMessageChunk("", tool_call_chunks=calls, usage_metadata=usage)
        yield ChatGenerationChunk(message=last)


def scripted(model: str, *answers: AIMessage) -> ScriptedModel:
    return ScriptedModel(model=model, messages=iter(answers), streaming=True)


def answer(text: str, tokens: tuple[int, int], *calls: tuple[str, dict[str, str]]) -> AIMessage:
    """Return a message with its input and output tokens, and (tool, arguments) of its calls."""
    given, written = tokens
    usage = UsageMetadata(input_tokens=given, output_tokens=written, total_tokens=given + written)
    named = [
        {"name": name, "args": args, "id": f"call_{n}"} for n, (name, args) in enumerate(calls)
    ]
    return AIMessage(text, tool_calls=named, usage_metadata=usage)


@tool
def web_search(query: str) -> str:
    """Search the web."""
    time.sleep(0.1 + sum(query.encode()) % 40 / 100)
    return f"10 results for {query!r}. 1. European battery monitor 2026 …"


@tool
def fetch_page(url: str) -> str:
    """Fetch a page. This server is slow."""
    time.sleep(4.5)
    return "Regulation (EU) 2023/1542, Article 77: … battery passport …"


@tool
def run_sql(sql: str) -> str:
    """Query the warehouse."""
    time.sleep(0.03)
    raise LookupError(f'relation "supplier_risks" does not exist: {sql}')


@tool
def upload_report(bucket: str, name: str, text: str, denied: bool) -> str:
    """Store the report where the client can read it."""
    time.sleep(0.4)
    if denied:
        raise PermissionError(
            f"403 Forbidden: the key of research-agent may not write to the bucket {bucket!r}"
        )
    return f"https://storage.example.org/{bucket}/{name}"


class Research(TypedDict, total=False):
    question: str
    denied: bool
    topic: str
    findings: Annotated[list[str], operator.add]
    report: str
    url: str


def plan(state: Research, config: RunnableConfig) -> dict[str, Any]:
    text = f"Six analysts look at {', '.join(TOPICS)}."
    prompt = [("system", "Plan the research."), ("human", state["question"])]
    scripted("gpt-5", answer(text, (412, 38))).invoke(prompt, config)
    return {}


def analyst(state: Research, config: RunnableConfig) -> dict[str, Any]:
    topic = state["topic"]
    calls: list[tuple[str, dict[str, str]]] = [
        ("web_search", {"query": f"home batteries EU {topic} {word}"})
        for word in ("2026", "report", "statistics", "news")
    ]
    if topic == "regulation":
        calls.append(("fetch_page", {"url": "https://eur-lex.example.org/eli/reg/2023/1542"}))
    if topic == "risks":
        calls.append(("run_sql", {"sql": "select * from supplier_risks where region = 'EU'"}))
    found = answer(FINDINGS[topic], (2310 + 10 * len(topic), 164))
    agent = create_agent(
        scripted("gpt-5-mini", answer("", (640, 52), *calls), found),
        [web_search, fetch_page, run_sql],
        middleware=[ToolErrorMiddleware(lambda error, _request: str(error))],
        system_prompt="You are an analyst. Cite what you find.",
        name="research",
    )
    result = agent.invoke(
        {"messages": [("human", f"Research {topic}: {state['question']}")]}, config
    )
    return {"findings": [str(result["messages"][-1].text)]}


def write(state: Research, config: RunnableConfig) -> dict[str, Any]:
    prompt = [("system", "Write the report."), ("human", "\n\n".join(state["findings"]))]
    return {"report": scripted("gpt-5", answer(REPORT, (9870, 1460))).invoke(prompt, config).text}


def publish(state: Research, config: RunnableConfig) -> dict[str, Any]:
    file = {"bucket": "client-reports", "name": "home-batteries.md", "text": state["report"]}
    return {"url": upload_report.invoke({**file, "denied": state["denied"]}, config)}


def research_graph() -> Any:
    graph = StateGraph(Research)
    for node in (plan, analyst, write, publish):
        graph.add_node(node.__name__, node)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges(
        "plan",
        lambda state: [Send("analyst", {**state, "topic": topic}) for topic in TOPICS],
        ["analyst"],
    )
    graph.add_edge("analyst", "write")
    graph.add_edge("write", "publish")
    graph.add_edge("publish", END)
    return graph.compile(name="market_research")
