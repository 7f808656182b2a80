"""Rules of the whole repository."""

import ast
import inspect
import re
import subprocess
from pathlib import Path

import pytest

import events.archive
import events.erasure
import events.history
import events.integrations.langchain
import events.outbox
import events.processor
import events.publisher
import events.testing
import jobs.services
import jobs.signals
from events.publisher import Publisher

ROOT = Path(__file__).resolve().parents[3]
APPS = ("events", "jobs")


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py")]


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


def modules_with(pattern: str, *folders: str) -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for path in sources(*folders)
        if "migrations" not in path.parts and re.search(pattern, path.read_text())
    }


def test_django_settings_are_read_in_one_module_of_each_app():
    assert modules_with(r"from django\.conf import settings", "events") == {"events/conf.py"}
    assert modules_with(r"from django\.conf import settings", "jobs") == {"jobs/conf.py"}


@pytest.mark.parametrize(
    ("app", "nodes"), [("events", ["Expr", "FunctionDef"]), ("jobs", ["Expr"])]
)
def test_top_level_packages_contain_a_docstring_only(app, nodes):
    """PyPI's `Events` may replace `events/__init__.py`, which has only a lazy `__getattr__`."""
    module = ast.parse((ROOT / app / "__init__.py").read_text())
    assert ast.get_docstring(module)
    assert [type(node).__name__ for node in module.body] == nodes
    assert not (ROOT / app / "events.py").exists()


def test_redis_clients_are_opened_in_one_module():
    assert modules_with(r"from_url\(|Redis\(", *APPS) <= {
        "events/streams/clients.py",
        "events/testing/redis_server.py",
    }


def test_key_prefix_is_defined_in_one_module():
    def code_with_key(path: Path) -> bool:
        tree = ast.parse(path.read_text())
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        return any(
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.search(r"job_events:($|\{)", node.value)
            and id(node) not in docstrings
            for node in ast.walk(tree)
        )

    modules = {str(path.relative_to(ROOT)) for path in sources(*APPS) if code_with_key(path)}
    assert modules == {"events/conf.py"}


def test_no_asserts_outside_tests():
    for path in sources(*APPS, "config"):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not isinstance(node, ast.Assert), path


def test_constraints_pin_by_name_and_version_only():
    line = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+(; python_version (<|>=) \"3\.12\")?")
    for text in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.fullmatch(text), text


def test_no_registry_or_machine_path_is_committed():
    forbidden = re.compile(
        r"index-url|find-links|/(?:root|work)/|pythonhosted|(?<!schema)files\.pypi", re.IGNORECASE
    )
    for path in tracked_files():
        if path.suffix in {".png", ".mo"} or path == Path(__file__):
            continue
        found = forbidden.search(path.read_text())
        assert found is None, f"{path}: {found}"


def public(module: object) -> set[str]:
    if hasattr(module, "__all__"):
        return set(module.__all__)
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    }


def test_exported_names():
    """A change of these names is a change of the public API."""
    assert public(events.publisher) == {
        "Publisher",
        "RedisStreamPublisher",
        "SyncRedisStreamPublisher",
        "get_publisher",
    }
    assert {name for name in vars(Publisher) if name.startswith("publish")} == {
        "publish_event",
        "publish_task_started",
        "publish_task_progress",
        "publish_task_completed",
        "publish_task_failed",
        "publish_outline_generated",
        "publish_document_generated",
    }
    assert {name for name in public(jobs.services) if name.startswith("job_")} == {
        "job_create", "job_start", "job_progress", "job_complete", "job_fail", "job_cancel",
        "job_retry", "job_delete",
    }  # fmt: skip
    assert public(events.outbox) == {"publish_event"}
    assert public(events.erasure) == {"Eraser", "delete_log", "erase_log"}
    assert set(events.testing.__all__) == {
        "Expected", "JobEvents", "aassert_events", "assert_events",
    }  # fmt: skip
    assert {name for name in vars(events.testing.JobEvents) if not name.startswith("_")} == {
        "aassert_events", "aevents", "assert_events", "async_publisher", "events", "process",
        "publisher", "record", "replay",
    }  # fmt: skip
    assert public(events.history) == {
        "SearchCursor", "SearchPage", "aread_events", "archive_position", "has_log", "read_events",
        "search_events", "wait_for_events",
    }  # fmt: skip
    assert set(events.archive.__all__) == {
        "MAX_CONDITIONS", "EventFilter", "Projection", "projections",
    }  # fmt: skip
    assert set(events.processor.__all__) == {
        "LogStatus", "get_status", "is_running", "processing_problem", "register_step",
    }  # fmt: skip
    assert {
        "RedisCallbackHandler", "SyncRedisCallbackHandler", "create_redis_callback_handler",
    } <= public(events.integrations.langchain)  # fmt: skip


def test_services_are_keyword_only():
    for name in public(jobs.services):
        if name.startswith("job_"):
            parameters = inspect.signature(getattr(jobs.services, name)).parameters.values()
            assert all(p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD) for p in parameters), name


@pytest.mark.parametrize("folder", [*APPS, "config"])
def test_length_of_modules_and_functions(folder):
    for path in sources(folder):
        text = path.read_text()
        assert len(text.splitlines()) < 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno - node.lineno < 40, f"{path}: {node.name}"
