"""Port of the metrics of management commands."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from django.core.management import CommandError

from events.database import close_connections
from events.metrics import is_available
from events.metrics.server import metrics_server

LOCAL_ADDRESS: Final = "127.0.0.1"


@contextmanager
def served_metrics(
    port: int | None, address: str, *, with_collectors: bool = True
) -> Iterator[int | None]:
    """Serve the metrics on a port, unless it is None; yield the port. Raises CommandError."""
    if port is None:
        yield None
        return
    if not is_available():
        raise CommandError(
            "Metrics need prometheus_client: pip install 'django-job-events[metrics]'."
        )
    server = metrics_server(
        address, port, with_collectors=with_collectors, finish=close_connections
    )
    with ExitStack() as stack:
        try:
            served = stack.enter_context(server)
        except (OSError, OverflowError) as error:
            raise CommandError(f"Metrics cannot be served on {address}:{port}: {error}") from error
        yield served
