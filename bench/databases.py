"""Run a benchmark on SQLite and PostgreSQL, each in its own process with its own settings."""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import django

from bench.redis import temporary_redis
from tests.support.postgres import PostgresServer, find_binary

_ROOT = Path(__file__).parents[1]


def on_each_database(module: str, redis_url: str, **options: int) -> None:
    """Run `python -m <module> --on <database>` once for each available database."""
    on_sqlite(module, redis_url, **options)
    if find_binary("initdb") is None:
        print(f"SKIPPED, no PostgreSQL server installed: {module} on PostgreSQL")
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
    with PostgresServer.running() as server:
        yield server.url


def _run(module: str, name: str, environment: dict[str, str], options: dict[str, int]) -> None:
    arguments = [f"--{option}={value}" for option, value in options.items()]
    with tempfile.TemporaryDirectory(prefix="jb") as local:
        subprocess.run(
            [sys.executable, "-m", module, "--on", name, *arguments],
            env={**os.environ, **environment, "LOCAL_DIR": local, "DJANGO_LOG_LEVEL": "ERROR"},
            cwd=_ROOT,
            check=True,
        )


def run_benchmark(
    module: str,
    measure: Callable[[argparse.Namespace], None],
    on: Callable[..., None] = on_each_database,
    **defaults: int,
) -> None:
    """Entry point of a benchmark module.

    Without `--on`, start Redis and run the module again for each database. With `--on`, measure.
    """
    options = parse_options(**defaults)
    if options.on:
        measure(options)
        return
    with temporary_redis() as url:
        on(module, url, **{name: getattr(options, name) for name in defaults})


def parse_options(**defaults: int) -> argparse.Namespace:
    """Parse the command line. `on` is the database of a child process, otherwise None."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--on", help=argparse.SUPPRESS)
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def set_up_django() -> None:
    """Set Django up with the settings of the site, and migrate the empty database."""
    os.environ |= {"DJANGO_SETTINGS_MODULE": "config.settings", "DJANGO_SECRET_KEY": "bench"}
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
