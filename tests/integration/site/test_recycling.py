"""Servers that replace their processes after a number of requests, without a signal."""

import asyncio
import json

import httpx
import pytest
import websockets

from events.integrations.uvicorn import OPTIONS
from tests.support.nginx import at_port
from tests.support.site import Site, free_port, wait_for_port

pytestmark = pytest.mark.extended
TIMEOUT_SECONDS = 30


async def read_stream(client: httpx.AsyncClient, job_id: str) -> str:
    response = await client.get(f"/api/jobs/{job_id}/events/stream/")
    return response.text


async def read_socket(site: Site, job_id: str, cookie: dict[str, str]) -> int | None:
    url = f"{site.ws_url}/ws/jobs/{job_id}/"
    async with websockets.connect(url, origin=site.url, additional_headers=cookie) as socket:
        while json.loads(await socket.recv())["type"] != "live":
            pass
        await socket.wait_closed()
        return socket.close_code


async def follow_until_replaced(site: Site, job_id: str, cookie: dict[str, str]) -> None:
    async with (
        asyncio.timeout(TIMEOUT_SECONDS),
        httpx.AsyncClient(base_url=site.url, headers=cookie, timeout=TIMEOUT_SECONDS) as client,
    ):
        stream = asyncio.create_task(read_stream(client, job_id))
        socket = asyncio.create_task(read_socket(site, job_id, cookie))
        await asyncio.sleep(1)
        while not stream.done():
            try:
                await client.get("/api/jobs/")
            except httpx.TransportError:  # it does not accept connections any more
                await asyncio.sleep(0.1)
        assert "event: restart" in await stream
        assert await socket == 1012


@pytest.mark.parametrize("options", [OPTIONS, ()], ids=["ours", "plain"])
def test_server_is_replaced_although_it_has_subscribers(
    site: Site, job_id: str, options: tuple[str, ...]
) -> None:
    cookie, other = site.cookie("anna"), at_port(site, free_port())
    arguments = ("config.asgi:application", "--port", str(other.port), *options)
    web = other._spawn("recycled", "-m", "uvicorn", *arguments, "--limit-max-requests", "8")
    wait_for_port(other.port, web)
    asyncio.run(follow_until_replaced(other, job_id, cookie))
    assert web.wait(TIMEOUT_SECONDS) == 0
