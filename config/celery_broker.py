"""From a Redis address as redis-py has it to the same as Celery has it."""

from urllib.parse import urlsplit


def broker_url(redis_url: str) -> str:
    """`unix://` becomes `redis+socket://`; every other address is the same for both."""
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    return f"redis+socket://{parts.path}"
