"""Tickets with several server processes, restarts, and the logs of the servers."""

from contextlib import contextmanager

import httpx
import pytest
import websockets
from websockets.sync.client import connect

from tests.support.nginx import another_web
from tests.support.site import Site

# Longer than RECHECK_LOGINS.
TIMEOUT_SECONDS = 30


def new_ticket(site: Site, job_id: str) -> str:
    with site.client("anna") as client:
        return str(client.post(f"/api/jobs/{job_id}/ticket/").json()["ticket"])


@contextmanager
def stream(site: Site, job_id: str, ticket: str):
    """Connect as an EventSource does; yield the lines after `live`."""
    url = f"{site.url}/api/jobs/{job_id}/events/stream/?ticket={ticket}"
    with httpx.stream("GET", url, timeout=TIMEOUT_SECONDS) as response:
        assert response.status_code == 200
        lines = response.iter_lines()
        while next(lines) != "event: live":
            pass
        yield lines


def test_connection_to_another_process_closes_the_older(site, job_id):
    ticket = new_ticket(site, job_id)
    with (
        another_web(site) as other,
        stream(site, job_id, ticket) as older,
        stream(other, job_id, ticket) as newer,
        site.client("anna") as client,
    ):
        with pytest.raises(httpx.RemoteProtocolError):
            list(older)  # ends without the last chunk
        client.post(f"/api/jobs/{job_id}/cancel/").raise_for_status()
        assert "event: end" in list(newer)


def test_ticket_survives_the_server(site, job_id):
    ticket = new_ticket(site, job_id)
    for _ in range(2):
        with another_web(site) as web, stream(web, job_id, ticket):
            pass


def test_server_logs_contain_no_tickets(site, job_id):
    ticket = new_ticket(site, job_id)
    with stream(site, job_id, ticket):
        pass
    url = f"{site.ws_url}/ws/jobs/{job_id}/?ticket={ticket}"
    with connect(url, origin=websockets.Origin(site.url)) as socket:
        assert "job_created" in socket.recv(TIMEOUT_SECONDS)
    with pytest.raises(websockets.InvalidStatus):
        connect(f"{url}x", origin=websockets.Origin(site.url))
    log = site.log_of("web")
    for path in (f"/api/jobs/{job_id}/events/stream/", f"/ws/jobs/{job_id}/"):
        assert f"{path}?ticket=[redacted]" in log
    assert ticket not in log
