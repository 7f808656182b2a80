"""Converts redis-py URLs to Celery broker URLs."""

from urllib.parse import parse_qs, urlsplit


def broker_url(redis_url: str) -> str:
    """Convert `unix://:password@/path?db=1` to `redis+socket://:password@/path?virtual_host=1`.

    URLs with the schemes `redis` and `rediss` are returned unchanged.
    """
    if not redis_url.startswith("unix:"):
        return redis_url
    parts = urlsplit(redis_url)
    password = f":{parts.password}@" if parts.password else ""
    db = parse_qs(parts.query).get("db", [""])[0]
    virtual_host = f"?virtual_host={db}" if db else ""
    return f"redis+socket://{password}{parts.path}{virtual_host}"
