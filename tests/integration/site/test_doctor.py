"""`manage.py doctor` for a running site, directly and through nginx."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.test_documents import snippets
from tests.support.need import need
from tests.support.nginx import NGINX, another_web, at_port, behind_nginx, extend_settings
from tests.support.site import ROOT, Site, free_port, wait_for_port


def doctor(site: Site, *arguments: str, **environment: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the findings by name."""
    done = subprocess.run(
        [sys.executable, "manage.py", "doctor", "--json", *arguments],
        cwd=ROOT,
        env={**site.environment, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    return done.returncode, {each["name"]: each for each in found["findings"]}


def states(findings: dict[str, Any], *names: str) -> dict[str, str]:
    return {name: findings[name]["state"] for name in names}


def test_running_site(site: Site, tmp_path: Any) -> None:
    lines = f"STATIC_ROOT = {str(tmp_path / 'static')!r}"
    code, findings = doctor(site, "--url", site.url, **extend_settings(tmp_path, lines))
    assert code == 1
    bad = {name: each for name, each in findings.items() if each["state"] != "ok"}
    assert {name: each["state"] for name, each in bad.items()} == {
        "static-files": "error",
        "redis-memory": "warning",
    }, bad
    assert "archived after" in findings["round-trip"]["seen"]
    assert findings["event-stream"]["seen"].startswith("First byte of the stream after 0.")
    with site.client() as client:
        jobs = client.get("/api/jobs/").json()["results"]
    assert [job for job in jobs if job["task_type"] == "doctor"] == []


@pytest.mark.extended
def test_other_user(site: Site) -> None:
    _, findings = doctor(site, "--url", site.url, "--user", "anna")
    assert findings["event-stream"]["state"] == "ok"
    _, findings = doctor(site, "--url", site.url, "--user", "nemo")
    assert "no active user nemo" in findings["event-stream"]["seen"]


def test_address_without_a_server(site: Site) -> None:
    code, findings = doctor(site, "--url", f"http://127.0.0.1:{free_port()}")
    assert code == 1
    checks = "served-static-files", "event-stream"
    assert states(findings, *checks) == dict.fromkeys(checks, "error")
    assert "refused" in findings["event-stream"]["seen"]


def test_wsgi_server_has_no_streams(site: Site) -> None:
    port = free_port()
    command = ["-m", "gunicorn", "config.wsgi:application", "--bind", f"127.0.0.1:{port}"]
    with (site.directory / "wsgi.log").open("ab") as log:
        server = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=site.environment, stdout=log, stderr=log
        )
    try:
        wait_for_port(port, server)
        _, findings = doctor(site, "--url", f"http://127.0.0.1:{port}")
    finally:
        server.terminate()
        server.wait()
    assert findings["event-stream"]["state"] == "error"
    assert "ASGI" in findings["event-stream"]["seen"]
    assert findings["served-static-files"]["state"] == "error"
    assert " 404," in findings["served-static-files"]["seen"]


@pytest.fixture(scope="module")
def h11_site(request: pytest.FixtureRequest, site: Site) -> Iterator[Site]:
    """nginx buffers what uvicorn sends without chunks; see test_nginx."""
    need(request, NGINX, "an nginx (Debian's package nginx)")
    with another_web(site, "--http", "h11") as web:
        yield web


@pytest.mark.extended
def test_nginx(h11_site: Site, tmp_path: Any) -> None:
    with behind_nginx(h11_site, tmp_path / "nginx") as front:
        _, findings = doctor(h11_site, "--url", front.url)
    checks = "served-static-files", "event-stream"
    assert states(findings, *checks) == dict.fromkeys(checks, "ok")


@pytest.mark.extended
def test_nginx_that_buffers(h11_site: Site, tmp_path: Any) -> None:
    ignoring = "proxy_ignore_headers X-Accel-Buffering;"
    with behind_nginx(h11_site, tmp_path / "nginx", ignoring) as front:
        code, findings = doctor(h11_site, "--url", front.url)
    assert code == 1
    finding = findings["event-stream"]
    assert finding["state"] == "error"
    assert "buffers" in finding["seen"]
    assert finding["runbook"] == "docs/operations.md#event-stream"


@pytest.mark.extended
def test_documented_nginx(h11_site: Site, tmp_path: Any) -> None:
    static = tmp_path / "static"
    environment = extend_settings(tmp_path, f"STATIC_ROOT = {str(static)!r}")
    other = at_port(h11_site, h11_site.port)
    other.environment = {**h11_site.environment, **environment}
    other.manage("collectstatic", "--no-input", "--verbosity", "0")
    port = free_port()
    server = snippets(ROOT / "docs" / "operations.md", "nginx")["nginx-site"]
    for documented, here in (
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("127.0.0.1:8000", f"127.0.0.1:{h11_site.port}"),
        ("/srv/mysite/static/", f"{static}/"),
    ):
        assert documented in server
        server = server.replace(documented, here)
    types = "types { text/javascript js; }"
    with behind_nginx(h11_site, tmp_path / "nginx", f"{types}\n{server}"):
        _, findings = doctor(h11_site, "--url", f"http://127.0.0.1:{port}", **environment)
    checks = "static-files", "served-static-files", "event-stream"
    assert states(findings, *checks) == dict.fromkeys(checks, "ok")
