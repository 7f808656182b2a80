"""What 2,000 viewers of a job cost while nothing happens: `python -m bench.idle`.

Memory: what the server's process has to itself (USS, of /proc), with 2,000 viewers less with one,
for each viewer, after the first signs of life. Redis: its connections with 2,000 viewers less with
one. Each way to view has a server of its own: the site with its consumer and its SSE view, to which
all viewers are logged in by a session, and the bare ones of `bench.fanout_site`.
"""

import argparse
import asyncio
import resource
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import uvloop

from bench.databases import measured, on_sqlite, set_up
from bench.servers import Server, fanout_site, leave_a_core, serving
from bench.sockets import Watcher, connect, disconnect, handshake_of, request_of

JOB = "bench"
QUIET = 20  # seconds: a keep-alive comes after 15

Serving = Callable[[], AbstractContextManager[Server]]


def measure(chosen: argparse.Namespace) -> None:
    set_up()
    from events.conf import event_settings

    raise_limit(chosen.viewers)
    cores = leave_a_core()
    login = make_job()
    with tempfile.TemporaryDirectory(prefix="jb") as directory:

        def site() -> AbstractContextManager[Server]:
            return serving("config.asgi:application", {}, cores)

        def bare() -> AbstractContextManager[Server]:
            return fanout_site(event_settings.REDIS_URL, directory, cores)

        sse, socket = f"api/jobs/{JOB}/events/stream/", f"ws/jobs/{JOB}/"
        for name, serve, request, most in (
            ("a socket of the site", site, handshake_of(socket, *login), 45),
            ("SSE of the site", site, request_of(sse, *login), 20),
            ("a bare socket", bare, handshake_of("ours/"), 45),
            ("bare SSE", bare, request_of("sse/ours/"), 20),
        ):
            memory, more = uvloop.run(cost(serve, request, chosen.viewers))
            print(
                f"{name}, KiB for each of {chosen.viewers} idle viewers (at most {most}):"
                f" {memory / 1024:.1f}; Redis connections more than with one (at most 2): {more}",
                flush=True,
            )


class Idler(Watcher):
    """Answers the server's pings, without which it is closed."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if data[:1] == b"\x89":  # a mask of zeros leaves what it masks as it is
            self.transport.write(bytes([0x8A, 0x80 | data[1], 0, 0, 0, 0]) + data[2:])


def raise_limit(viewers: int) -> None:
    """As many open files as this takes, here and in the servers."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < viewers + 200:
        raise SystemExit(f"{viewers} viewers take {viewers + 200} open files: ulimit -n is {most}.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (viewers + 200, most))


def make_job() -> tuple[str, str]:
    """A job that runs, with some events; the headers of one who may view it."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    from events.publisher import SyncRedisStreamPublisher
    from events.streams.clients import get_redis
    from jobs.models import Job

    user = get_user_model().objects.create_user("viewer")
    Job.objects.create(job_id=JOB, owner=user, status=Job.Status.RUNNING)
    SyncRedisStreamPublisher(get_redis()).publish_events(JOB, [{"text": "It rains."}] * 20)
    client = Client()
    client.force_login(user)
    return f"Cookie: sessionid={client.cookies['sessionid'].value}", "Origin: http://localhost"


async def cost(serve: Serving, request: bytes, viewers: int) -> tuple[float, int]:
    """Bytes for each viewer but the first, and connections for all of them."""
    from events.streams.clients import get_redis

    client: Any = get_redis()
    with serve() as server:
        watchers = await connect(server.port, 1, lambda: Idler(request))
        await asyncio.sleep(QUIET)
        memory, connections = own_memory(server.pid), len(client.client_list())
        watchers += await connect(server.port, viewers - 1, lambda: Idler(request))
        await asyncio.sleep(QUIET)
        memory = own_memory(server.pid) - memory
        connections = len(client.client_list()) - connections
        if any(watcher.transport.is_closing() for watcher in watchers):
            raise RuntimeError("a viewer was closed")
        await disconnect(watchers)
    return memory / (viewers - 1), connections


def own_memory(pid: int) -> int:
    """The bytes of the pages that no other process shares."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


if __name__ == "__main__":
    measured("bench.idle", measure, on_sqlite, viewers=2000)
