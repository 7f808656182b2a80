"""Long words, messages and types, right-to-left text and large outputs keep the layout."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from events.publisher import SyncRedisStreamPublisher
from tests.browser.checks import check_layout
from tests.support.showcase import Showcase
from tests.support.showcase_pages import WIDTHS, new_page, open_page

pytestmark = [pytest.mark.browser, pytest.mark.extended]

WORD = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 2
ARABIC = "هذه رسالة طويلة عن تقدم العمل في المهمة رقم 42 وهي تكتب من اليمين إلى اليسار. "
OUTPUT = "0123456789abcdef" * 12_500  # 200 KB without a place to break
LONG_TYPE = "video." + "transcoding_of_segments." * 5
TABS = ("timeline", "conversation", "events", "result", "input")


def span(event_type: str, run_id: str, parent: str | None, **data: Any) -> dict[str, Any]:
    return {"event_type": event_type, "data": {"run_id": run_id, "parent_run_id": parent, **data}}


def hostile_log() -> list[dict[str, Any]]:
    message = {"message": f"{WORD * 10} {ARABIC}", "error_type": WORD, "fatal": True}
    frames = f'File "{"/very/long/folder" * 20}/module.py", line 1, in {WORD}\n  raise {WORD}\n' * 5
    task = {"run_id": "t", "parent_run_id": None}
    return [
        {"event_type": "task_started", "worker": WORD, "data": task},
        {"event_type": "task_progress", "progress": 42, "message": WORD * 20},
        span("phase_update", "n", "t", phase=f"{WORD}{WORD}"),
        span("tool_call", "big", "n", tool=f"{WORD}_tool", input={WORD: OUTPUT[:20_000]}),
        span("thought", "m", "n", model="m", text=f"{ARABIC * 5}\n\n{WORD * 3}"),
        {"event_type": LONG_TYPE, WORD: {WORD: [WORD, ARABIC, {"deep": {"deeper": WORD}}]}},
        {"event_type": "log", "level": "warning", "message": f"\x1b[31m{WORD * 20}\x1b[0m"},
        {"event_type": "log", "level": WORD, "message": f"{ARABIC * 30}"},
        span("tool_result", "big", "n", output=OUTPUT, status="done", seconds=1),
        span("tool_call", "failed", "n", tool="lookup", input={"q": ARABIC}),
        span("error", "failed", "n", tool="lookup", status="failed", traceback=frames, **message),
        {"event_type": "task_failed", "error": f"{WORD * 10} {ARABIC}", "error_type": WORD,
         "data": {**task, "status": "failed", "seconds": 2}},
    ]  # fmt: skip


@pytest.fixture(scope="module")
def hostile_jobs(showcase: Showcase) -> list[str]:
    """A failed job and a running one."""
    title = WORD[:100] + ARABIC[:100]
    jobs = [showcase.create(LONG_TYPE[:100], title, {WORD: OUTPUT}) for _ in range(2)]
    with redis.Redis.from_url(showcase.redis.url) as client:
        publisher = SyncRedisStreamPublisher(client)
        for event in hostile_log():
            publisher.publish_event(jobs[0], event)
            if event["event_type"] != "task_failed":
                publisher.publish_event(jobs[1], event)
    showcase.wait_for_status(jobs[0], "failed")
    showcase.wait_for_status(jobs[1], "running")
    return jobs


@pytest.fixture
def opened(browser: Any, showcase: Showcase) -> Iterator[Any]:
    page = new_page(browser, showcase)
    yield page
    page.context.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_run_page_of_hostile_jobs(opened: Any, hostile_jobs: list[str], width: int) -> None:
    opened.set_viewport_size({"width": width, "height": WIDTHS[width]})
    failed, running = (f"/jobs/job/{job_id}/" for job_id in hostile_jobs)
    tabs = [f"{failed}?tab={tab}" for tab in TABS]
    for path in (failed, *tabs, f"{failed}?tab=timeline&span=big", running):
        open_page(opened, path)
        check_layout(opened, width)


@pytest.mark.usefixtures("hostile_jobs")
@pytest.mark.parametrize("width", WIDTHS)
def test_lists_with_hostile_jobs(opened: Any, paths: dict[str, str], width: int) -> None:
    opened.set_viewport_size({"width": width, "height": WIDTHS[width]})
    for name in ("list", "monitor", "admin-jobs"):
        open_page(opened, paths[name])
        check_layout(opened, width)
