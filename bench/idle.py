"""Memory and Redis connections of 2,000 idle viewers of a job: `python -m bench.idle`.

Memory is the private memory (USS) of the server process with 2,000 viewers minus that with one
viewer, per viewer, after the first keep-alive. Redis connections are compared in the same way. Each
transport is measured with a new server: the consumer and the SSE view of the site, with viewers
that share a session, and the bare ones of `bench.fanout_site`.
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

from bench.databases import on_sqlite, run_benchmark, set_up_django
from bench.servers import Server, reserve_core, run_fanout_site, run_server
from bench.sockets import Viewer, connect, disconnect, handshake_of, request_of

JOB = "bench"
IDLE_SECONDS = 20  # the first keep-alive is sent after 15

StartServer = Callable[[], AbstractContextManager[Server]]


def measure(options: argparse.Namespace) -> None:
    set_up_django()
    from events.conf import event_settings

    raise_open_files_limit(options.viewers)
    cores = reserve_core()
    login = make_job()
    with tempfile.TemporaryDirectory(prefix="jb") as directory:

        def site() -> AbstractContextManager[Server]:
            return run_server("config.asgi:application", {}, cores)

        def bare() -> AbstractContextManager[Server]:
            return run_fanout_site(event_settings.REDIS_URL, directory, cores)

        sse, socket = f"api/jobs/{JOB}/events/stream/", f"ws/jobs/{JOB}/"
        for name, serve, request, limit in (
            ("WebSocket of the site", site, handshake_of(socket, *login), 45),
            ("SSE of the site", site, request_of(sse, *login), 20),
            ("bare WebSocket", bare, handshake_of("ours/"), 45),
            ("bare SSE", bare, request_of("sse/ours/"), 20),
        ):
            memory, connections = uvloop.run(measure_idle_cost(serve, request, options.viewers))
            print(
                f"{name}, KiB per viewer of {options.viewers} idle viewers (at most {limit}):"
                f" {memory / 1024:.1f}; additional Redis"
                f" connections (at most 2): {connections}",
                flush=True,
            )


class IdleViewer(Viewer):
    """Answers pings: the server closes a connection without pongs."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if data[:1] == b"\x89":  # a mask of zeros leaves the payload unchanged
            self.transport.write(bytes([0x8A, 0x80 | data[1], 0, 0, 0, 0]) + data[2:])


def raise_open_files_limit(viewers: int) -> None:
    """Raise the limit of open files of this process, inherited by the servers."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < viewers + 200:
        raise SystemExit(f"{viewers} viewers need {viewers + 200} open files: ulimit -n is {hard}.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (viewers + 200, hard))


def make_job() -> tuple[str, str]:
    """Create a running job with some events; return the HTTP headers of its owner."""
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


async def measure_idle_cost(serve: StartServer, request: bytes, viewers: int) -> tuple[float, int]:
    """Return the bytes per viewer and the number of Redis connections, both beyond one viewer."""
    from events.streams.clients import get_redis

    client: Any = get_redis()
    with serve() as server:
        connected = await connect(server.port, 1, lambda: IdleViewer(request))
        await asyncio.sleep(IDLE_SECONDS)
        memory, connections = private_memory(server.pid), len(client.client_list())
        connected += await connect(server.port, viewers - 1, lambda: IdleViewer(request))
        await asyncio.sleep(IDLE_SECONDS)
        memory = private_memory(server.pid) - memory
        connections = len(client.client_list()) - connections
        if any(viewer.transport.is_closing() for viewer in connected):
            raise RuntimeError("the server closed the connection of a viewer")
        await disconnect(connected)
    return memory / (viewers - 1), connections


def private_memory(pid: int) -> int:
    """Return the private memory of a process in bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


if __name__ == "__main__":
    run_benchmark("bench.idle", measure, on_sqlite, viewers=2000)
