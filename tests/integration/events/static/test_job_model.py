"""The model of the browser: facts and spans of real logs, and of logs that attack it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from events.history import read_events
from events.publisher import get_publisher
from events.spans import span_context
from jobs import inputs, services
from jobs.api.serializers import JobSerializer
from jobs.models import Job
from tests.integration.jobs.execution.work import TRACKER, claim
from tests.support.browser_model import NODE, api_event, model_of, outline
from tests.support.graphs import sync_handler
from tests.support.survey import BRANCHES, LOOKUPS, survey

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="needs node"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("job"),
]


@pytest.fixture
def job() -> Job:
    return services.job_create(job_id="abc", task_type="manual")


def log() -> list[dict[str, Any]]:
    return [api_event(event) for event in read_events("abc", limit=1000)]


def row() -> dict[str, Any]:
    return dict(JobSerializer(Job.objects.get(job_id="abc")).data)


def test_graph_that_handles_two_errors_and_fails() -> None:
    run = claim()
    graph, config = survey(InMemorySaver(), is_async=False), {"configurable": {"thread_id": "1"}}
    with span_context("abc", run.span_id):
        graph.invoke({}, {**config, "callbacks": [sync_handler()]})
        with pytest.raises(PermissionError) as raised:
            graph.invoke(Command(resume="yes"), {**config, "callbacks": [sync_handler()]})
    TRACKER.fail(run, raised.value, None, "")
    facts = model_of(log(), row())
    lines = outline(facts)
    assert lines[:2] == ["task work failed", "  graph survey[1] interrupted"]
    assert [line.strip() for line in lines if "failed" in line] == [
        "task work failed", "graph survey[2] failed", "node publish failed",
    ]  # fmt: skip
    handled = [
        line.split("[")[0].split(" handled")[0].strip() for line in lines if "handled" in line
    ]
    assert sorted(handled) == ["node archive", "tool look_up"]
    branches = [each["branch"] for each in facts["spans"]["1"] if each["name"].startswith("rese")]
    assert branches.count(None) == BRANCHES  # the agents in the nodes
    assert sorted(filter(None, branches)) == [*range(1, BRANCHES + 1)]
    expected = {
        "status": "failed", "handledErrors": 2, "toolCalls": BRANCHES * LOOKUPS, "toolErrors": 1,
        "modelCalls": 2 * BRANCHES + 1, "worker": "w1",
        "tokens": {"input": 10 * BRANCHES, "output": BRANCHES},
    }  # fmt: skip
    assert {name: facts[name] for name in expected} == expected
    fatal = facts["fatal"]
    assert fatal["message"] == "not allowed to publish"
    assert (fatal["type"], fatal["phase"], fatal["attempt"]) == ("PermissionError", "publish", 1)
    assert "publish" in fatal["traceback"]
    (answer,) = (row for row in facts["spans"]["1"] if row["text"])
    assert answer["text"] == "Look at six."
    assert 0 <= facts["queueSeconds"] < 30
    assert 0 <= facts["firstEventSeconds"] < 30


def test_publisher_spans_and_attempts() -> None:
    publisher, run = get_publisher(), claim()
    with span_context("abc", run.span_id):
        with publisher.span("abc", "load", rows=3):
            pass
        with pytest.raises(ValueError, match="one"), publisher.span("abc", "check"):
            raise ValueError("one")
        outer, inner = publisher.span("abc", "store"), publisher.span("abc", "charge")
        with pytest.raises(KeyError), outer, inner:
            raise KeyError("two")
    TRACKER.fail(run, KeyError("two"), None, "")
    services.job_retry(job_id="abc")
    TRACKER.complete(claim("k2", attempt=2), {"ok": True}, continues=False)
    facts = model_of(log(), row())
    assert outline(facts) == [
        "task work failed", "  span load done", "  span check handled", "  span store failed",
        "    span charge failed",
    ]  # fmt: skip
    assert outline(facts, 2) == ["task work done"]
    assert (facts["attempt"], facts["status"], facts["fatal"]) == (2, "completed", None)
    first, second = facts["attempts"]
    assert (first["status"], first["fatal"]["message"]) == ("failed", "'two'")
    assert (second["status"], second["progress"], facts["result"]) == (
        "completed",
        100,
        {"ok": True},
    )
    assert facts["handledErrors"] == 1


def plain(*events: tuple[float, str, dict[str, Any]]) -> None:
    """Publish events of a program without spans, at these seconds."""
    start = datetime(2026, 11, 26, 21, tzinfo=UTC)
    for seconds, event_type, data in events:
        timestamp = (start + timedelta(seconds=seconds)).isoformat()
        event = {"event_type": event_type, "timestamp": timestamp, **data}
        get_publisher().publish_event("abc", event)


def steps(facts: dict[str, Any]) -> list[tuple[str, str, float]]:
    return [(each["name"], each["status"], each["seconds"]) for each in facts["spans"]["1"]]


def test_plain_thread_with_phases_that_fails() -> None:
    plain(
        (0, "task_started", {"task_type": "import"}),
        (1, "phase_update", {"phase": "read"}),
        (2, "log", {"level": "info", "message": "3 files"}),
        (6, "task_progress", {"progress": 40, "message": "Row 4 of 10"}),
        (7, "phase_update", {"phase": "charge"}),
        (9, "error", {"message": "card declined", "error_type": "CardError"}),
        (9, "task_failed", {"error": "CardError: card declined"}),
    )
    facts = model_of(log())
    assert steps(facts) == [("read", "done", 6), ("charge", "failed", 2)]
    fatal = facts["fatal"]
    assert (fatal["message"], fatal["type"]) == ("card declined", "CardError")
    assert (fatal["phase"], fatal["progress"]) == ("charge", 40)
    assert (facts["handledErrors"], facts["errorCount"]) == (0, 2)
    assert facts["firstEventSeconds"] == 1


def test_progress_of_a_thread_without_phases() -> None:
    plain(
        (0, "task_started", {"task_type": "import"}),
        (1, "task_progress", {"progress": 10, "message": "Row 1 of 3"}),
        (2, "task_progress", {"progress": 20, "message": "Row 2 of 3"}),
        (4, "task_progress", {"progress": 90, "message": "Sending"}),
        (9, "task_completed", {"result": 3}),
    )
    assert steps(model_of(log())) == [("Row 1 of 3", "done", 3), ("Sending", "done", 5)]


def test_steps_of_a_task_without_spans() -> None:
    run = claim()
    plain((1, "phase_update", {"phase": "a"}), (2, "phase_update", {"phase": "b"}))
    TRACKER.complete(run, None, continues=False)
    assert outline(model_of(log())) == ["task work done", "  phase a done", "  phase b done"]


def test_foreign_types() -> None:
    plain(
        (0, "order.received", {"order": 7}),
        (1, "order.received", {"order": 8}),
        (3, "order.paid", {"message": "by card"}),
        (4, "order.shipped", {}),
    )
    facts = model_of(log()[1:], {"status": "completed", "finished_at": "2026-11-26T21:00:06Z"})
    assert steps(facts)[:2] == [("order.received", "done", 3), ("order.paid", "done", 1)]
    assert [each["detail"] for each in facts["spans"]["1"]] == [
        "order: 7", "by card", "",
    ]  # fmt: skip
    assert facts["status"] == "completed"
    assert facts["types"]["order.received"] == 2


def test_tools_without_run_ids() -> None:
    plain(
        (0, "phase_update", {"phase": "search"}),
        (1, "tool_call", {"tool": "google", "input": "tea"}),
        (3, "tool_result", {"tool": "google", "output": "leaves"}),
        (4, "phase_update", {"phase": "write"}),
    )
    facts = model_of(log())
    assert outline(facts) == ["phase search done", "  tool google done", "phase write running"]
    assert facts["spans"]["1"][1]["seconds"] == 2


def test_question_is_open_until_its_answer() -> None:
    claim()
    inputs.input_request(job_id="abc", name="q", prompt={"text": "?", "draft": [1]}, choices=["y"])
    (question,) = model_of(log())["questions"]
    assert (question["prompt"], question["choices"]) == ({"text": "?", "draft": [1]}, ["y"])
    inputs.input_give(job_id="abc", name="q", value="y")
    assert model_of(log())["questions"] == []


def made(events: list[tuple[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"id": f"{1_795_726_800_000 + n}-0", "job_id": "abc", "event_type": kind,
         "timestamp": f"2026-11-26T21:00:{n % 60:02}Z", "data": data}
        for n, (kind, data) in enumerate(events)
    ]  # fmt: skip


def start(run_id: Any, parent: Any = None, **data: Any) -> tuple[str, Any]:
    return "span_started", {"data": {"run_id": run_id, "parent_run_id": parent, **data}}


def end(run_id: Any, **data: Any) -> tuple[str, Any]:
    return "span_finished", {"data": {"run_id": run_id, "status": "done", "seconds": 1, **data}}


HOSTILE: dict[str, list[tuple[str, Any]]] = {
    "cycle": [start("a", "b"), start("b", "a"), start("c", "c"), start("d", "b"), start("b", "d")],
    "cycle of three": [start("a", "b"), start("b", "c"), start("c", "a"), end("a"), end("c")],
    "repeated starts and ends": [start("a"), start("a"), end("a"), end("a", status="failed")],
    "ends without starts": [end("x"), ("tool_result", {}), ("done", {"data": {"run_id": "y"}})],
    "no data": [("error", None), ("phase_update", 7), ("task_failed", []), ("thought", "x")],
    "names": [start(1, 2, name=3), start({}, [], name={}), ("tool_call", {"tool": [1]})],
    "numbers": [
        end("a", seconds=-1), end("b", seconds=1e300), end("c", seconds="x"),
        ("task_started", {"queue_seconds": "x", "attempt": 1e9}),
        ("task_progress", {"progress": "x", "message": {"a": 1}}),
        ("model_result", {"usage": {"input_tokens": "1", "output_tokens": -1}, "model": 5}),
    ],
    "status": [("log", {"job_status": "completed"}), ("task_x", {"job_status": ["failed"]})],
    "prototype": [start("__proto__"), end("__proto__"), ("constructor", {"name": "toString"})],
    "siblings": [start("root"), *[start(f"s{n}", "root", name="s") for n in range(10_000)]],
    "siblings without ends": [start(f"s{n}", name=f"n{n}") for n in range(10_000)],
    "deep": [start(f"d{n}", f"d{n - 1}") for n in range(5_000)],
    "deep and failed": [
        *[start(f"d{n}", f"d{n - 1}") for n in range(5_000)],
        *[end(f"d{n}", status="failed", message="boom") for n in reversed(range(5_000))],
    ],
    "children before parents": [start(f"d{n}", f"d{n + 1}") for n in range(5_000)],
    "open tools": [("tool_call", {"tool": f"t{n}"}) for n in range(10_000)]
    + [("tool_result", {"tool": f"u{n}"}) for n in range(10_000)],
    "attempts": [("job_retried", {}) for n in range(3_000)],
    "questions": [("input_requested", {"name": n, "prompt": [n]}) for n in range(1_000)],
    "types": [(f"type {n}", {}) for n in range(20_000)],
    "texts": [("thought", {"run_id": "m", "text": "x" * 1_000}) for n in range(1_000)],
}  # fmt: skip


@pytest.mark.extended
@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_log(name: str) -> None:
    """A model that takes quadratic time does not end before the timeout of the test."""
    events = made(HOSTILE[name])
    facts = model_of(events)
    assert max((row["depth"] for row in facts["spans"].get("1", ())), default=0) <= 100
    held = model_of(events, window=1_000)["held"]
    assert held["byEvent"] <= 1_000
    assert held["spans"] <= 2_000


def test_hostile_events() -> None:
    events: list[Any] = [None, 7, "x", [], {}, {"id": 5}, {"id": "x", "event_type": {}, "data": 1}]
    events += [{**each, "timestamp": when, "id": None} for each in made([start("a"), end("a")])
               for when in (None, "", "x", 5, "9999-01-01T00:00:00Z", "0001-01-01")]  # fmt: skip
    facts = model_of(events, {"attempts": [1, {"number": "x"}], "attempt": "x", "usage": [1]})
    assert facts["status"] == "running"  # the start may have been trimmed


def test_status_of_other_programs_is_ignored() -> None:
    facts = model_of(made([*HOSTILE["status"], ("task_started", {}), ("task_completed", {})]))
    assert facts["status"] == "completed"
    events = [("task_started", {}), ("task_completed", {"job_status": "running"})]
    assert model_of(made(events))["status"] == "running"


def test_cycle_leaves_every_span_in_the_tree() -> None:
    facts = model_of(made(HOSTILE["cycle"]))
    assert len(facts["spans"]["1"]) == 4


def test_memory_is_bounded_by_the_window() -> None:
    events = [("task_started", {"data": {"run_id": "t"}})]
    for number in range(15_000):
        events += [start(f"s{number}", "t", name=f"n{number}"), ("log", {"n": number})]
        events += [end(f"s{number}", status="failed", message="x"), ("error", {"message": "y"})]
    held = model_of(made(events), window=5_000)["held"]
    assert held["spans"] < 2_500
    assert held["byEvent"] <= 5_000
    assert held["failed"] < 2_500
