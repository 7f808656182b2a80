"""The quickstart, pasted into a new project with the wheel, in Chromium."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from events.testing.redis_server import throwaway_redis
from tests.browser.conftest import _close_async_redis, browser
from tests.browser.support import wait_for_state
from tests.integration.packaging.conftest import Environment, run
from tests.integration.test_documents import snippets
from tests.support.site import ROOT, free_port, wait_for_port

__all__ = ["_close_async_redis", "browser"]

pytestmark = [pytest.mark.extended, pytest.mark.browser, pytest.mark.timeout(300)]

DOCUMENT = ROOT / "docs" / "quickstart.md"
CODE = snippets(DOCUMENT)
SHELL = snippets(DOCUMENT, "sh")
ACCOUNT = {
    "DJANGO_SUPERUSER_USERNAME": "admin",
    "DJANGO_SUPERUSER_PASSWORD": "password",
    "DJANGO_SUPERUSER_EMAIL": "admin@example.com",
}


class Project:
    """A project created by the steps of the document."""

    def __init__(self, environment: Environment, folder: Path, redis_url: str) -> None:
        self.folder = folder / "mysite"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._python = environment.python
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO", "PYTHONPATH"))}
        self._environment = {**kept, **ACCOUNT, "REDIS_URL": redis_url}
        run(self._python, "-m", "django", "startproject", "mysite", cwd=folder)
        site = self.folder / "mysite"
        for module in ("settings", "urls"):
            self.paste(CODE[module], f"{module}.py")
        (site / "asgi.py").write_text(CODE["asgi"])
        (site / "reports.py").write_text(CODE["reports"])

    def paste(self, code: str, module: str) -> None:
        with (self.folder / "mysite" / module).open("a") as file:
            file.write(code)

    def run(self, *arguments: str) -> str:
        return run(self._python, *arguments, cwd=self.folder, env=self._environment)

    def shell(self, script: str) -> str:
        return run("sh", "-c", script, cwd=self.folder, env=self._environment)

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start a process, with the processes that it starts; read its output if it fails."""
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [str(self._python), *arguments],
                cwd=self.folder,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture
def project(environment: Environment, tmp_path: Path) -> Iterator[Project]:
    with throwaway_redis() as url:
        yield Project(environment, tmp_path, url)


def follow_see(project: Project, stack: ExitStack) -> None:
    """Run the commands of `See it`; createsuperuser reads its answers from the environment."""
    commands = SHELL["see"].splitlines()
    assert commands[0] == "export REDIS_URL=redis://127.0.0.1:6379/0"
    for command in commands[1:]:
        name, *arguments = command.split()
        assert name == "python"
        if arguments[-1] == "runserver":
            server = stack.enter_context(project.started(*arguments, str(project.port)))
            wait_for_port(project.port, server)
        else:
            project.run(*arguments, *["--noinput"] * (arguments[-1] == "createsuperuser"))
    stack.enter_context(project.started("manage.py", "process_events"))


def test_first_hour(project: Project, browser: Any) -> None:
    with ExitStack() as stack:
        follow_see(project, stack)
        context = browser.new_context(base_url=project.url, locale="en-GB")
        stack.callback(context.close)
        page = context.new_page()
        page.set_default_timeout(30_000)
        failed: list[str] = []
        sockets: list[str] = []
        page.on("response", lambda each: each.status >= 400 and failed.append(each.url))
        page.on("websocket", lambda each: sockets.append(each.url))
        page.goto("/jobs/")
        page.get_by_label("Username").fill("admin")
        page.get_by_label("Password").fill("password")
        page.get_by_role("button", name="Log in").click()
        page.locator("#content").get_by_role("link", name="New job").click()
        page.get_by_label("Payload").fill('{"pages": 5}')
        page.get_by_role("button", name="Start the job").click()
        wait_for_state(page, "live")
        page.get_by_role("tab", name="Events").click()
        written = page.locator(".event-row", has_text="page_written")
        written.first.wait_for()
        assert written.count() < 5  # live: the other pages are not written yet
        wait_for_state(page, "ended")
        page.get_by_text("Completed").first.wait_for()
        assert written.count() == 5
        assert page.locator("main").evaluate("e => getComputedStyle(e).maxWidth") != "none"
        assert [url for url in sockets if "/ws/jobs/" in url]
        assert failed == []

        created = json.loads(project.shell(SHELL["curl"].replace(":8000", f":{project.port}")))
        page.goto(created["url"])
        assert "My report" in page.title()
        wait_for_state(page, "ended")
        page.reload()
        page.get_by_text("Completed").first.wait_for()
        assert page.get_by_text("Events are not processed").count() == 0
        assert failed == []


def test_uvicorn_serves_the_static_files_during_development(project: Project) -> None:
    project.paste(CODE["static"], "urls.py")
    project.run("manage.py", "migrate")
    (command,) = re.findall(r"`(uvicorn mysite\.asgi:application)`", DOCUMENT.read_text())
    with project.started("-m", *command.split(), "--port", str(project.port)) as server:
        wait_for_port(project.port, server)
        assert "jobs.css" in httpx.get(f"{project.url}/jobs/login/").text
        response = httpx.get(f"{project.url}/static/job_events_jobs/jobs.css")
    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/css")
