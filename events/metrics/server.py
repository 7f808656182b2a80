"""HTTP server of the metrics, for processes that serve no other requests."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from events.metrics.exposition import render

PATH: Final = "/metrics"
_TEXT: Final = "text/plain; charset=utf-8"

Finish = Callable[[], object]


class _ThreadingServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    timeout = 10  # of a client that sends nothing

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - that of the base class
        pass


@contextmanager
def metrics_server(
    address: str, port: int, *, with_collectors: bool = True, finish: Finish = lambda: None
) -> Iterator[int]:
    """Serve the metrics from a thread; yield the port. `finish` is called after each request.

    Raises OSError if the address is not free.
    """

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != PATH:
            start_response("404 Not Found", [("Content-Type", _TEXT)])
            return [f"The metrics are at {PATH}.\n".encode()]
        accept = environ.get("HTTP_ACCEPT", "")
        try:
            body, content_type = render(accept, with_collectors=with_collectors)
        finally:
            finish()
        start_response("200 OK", [("Content-Type", content_type)])
        return [body]

    server = make_server(address, port, application, _ThreadingServer, _Handler)
    thread = Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
