"""SQLite and PostgreSQL, each for a process of its own: Django's settings are read once."""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import django

from bench.redis import own_redis
from tests.support.postgres import PostgresServer, find_binary

_ROOT = Path(__file__).parents[1]


def on_each_database(module: str, redis_url: str, **options: int) -> None:
    """Run `python -m <module> --on <database>` with each database, as the site has it."""
    on_sqlite(module, redis_url, **options)
    if find_binary("initdb") is None:
        print(f"SKIPPED, no PostgreSQL server here: {module} on PostgreSQL")
        return
    with postgres() as url:
        _run(module, "PostgreSQL", {"DATABASE_URL": url, "REDIS_URL": redis_url}, options)


def on_sqlite(module: str, redis_url: str, **options: int) -> None:
    with sqlite() as url:
        _run(module, "SQLite", {"DATABASE_URL": url, "REDIS_URL": redis_url}, options)


@contextmanager
def sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="jb") as directory:
        yield f"sqlite:///{directory}/db.sqlite3"


@contextmanager
def postgres() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="jb", ignore_cleanup_errors=True) as directory:
        server = PostgresServer(Path(directory))
        server.start()
        try:
            yield server.url
        finally:
            server.stop()


def _run(module: str, name: str, environment: dict[str, str], options: dict[str, int]) -> None:
    words = [word for option, value in options.items() for word in (f"--{option}", str(value))]
    with tempfile.TemporaryDirectory(prefix="jb") as local:
        subprocess.run(
            [sys.executable, "-m", module, "--on", name, *words],
            env={**os.environ, **environment, "LOCAL_DIR": local, "DJANGO_LOG_LEVEL": "ERROR"},
            cwd=_ROOT,
            check=True,
        )


def measured(
    module: str,
    measure: Callable[[argparse.Namespace], None],
    on: Callable[..., None] = on_each_database,
    **defaults: int,
) -> None:
    """Be `python -m <module>`: measure with a Redis and each database, or with those there are."""
    chosen = options(**defaults)
    if chosen.on:
        measure(chosen)
        return
    with own_redis() as url:
        on(module, url, **{name: getattr(chosen, name) for name in defaults})


def options(**defaults: int) -> argparse.Namespace:
    """What the command line says; `on` is the database, in a process that has one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--on", help=argparse.SUPPRESS)
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def set_up() -> None:
    """Make this process one of the site, with an empty database."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
