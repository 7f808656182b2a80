"""From a Redis address as redis-py has it to the same as Celery has it."""

from urllib.parse import parse_qs, urlsplit


def broker_url(redis_url: str) -> str:
    """`unix://:password@/path?db=1` becomes `redis+socket://:password@/path?virtual_host=1`.

    Addresses of the schemes `redis` and `rediss` are the same for both.
    """
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    password = f":{parts.password}@" if parts.password else ""
    db = parse_qs(parts.query).get("db", [""])[0]
    virtual_host = f"?virtual_host={db}" if db else ""
    return f"redis+socket://{password}{parts.path}{virtual_host}"
