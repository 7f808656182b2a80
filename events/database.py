"""Database connections of threads that run longer than a request."""

from django.db import connections


def close_connections() -> None:
    """Close this thread's database connections; the next query opens new ones."""
    for connection in connections.all(initialized_only=True):
        connection.close()


def close_unusable_connections() -> None:
    """Close this thread's connections that the server has closed, for example after hours idle."""
    for connection in connections.all(initialized_only=True):
        is_open = connection.connection is not None and not connection.in_atomic_block
        if is_open and not connection.is_usable():
            connection.close()
