"""`manage.py demo`: the whole site as child processes of one command."""

import os
from argparse import ArgumentParser
from contextlib import ExitStack
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand

from config.demo import launcher
from config.environment import LOCAL_DIR
from events.exceptions import EventsError
from events.streams.clients import is_reachable
from events.testing.redis_server import EmbeddedRedis
from jobs import services
from jobs.models import Job

USER = "demo"
PASSWORD = "demo"  # noqa: S105 - shown on the login page


class Command(BaseCommand):
    """Run Redis, `process_events`, the web server and a worker until the first signal."""

    help = "Run the demo: Redis, process_events, uvicorn and a Celery worker, until Ctrl-C."
    requires_system_checks = ()  # they may open a database before check_environment() rejects it

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the port."""
        parser.add_argument("--port", type=int, default=8000, help="of the web server (8000)")

    def handle(self, *_args: Any, port: int, **_options: Any) -> None:
        """Start all processes and wait for a signal."""
        launcher.handle_signals()
        try:
            with ExitStack() as stack:
                self._run(stack, port)
        except launcher.DemoStopped:
            self.stdout.write("\nStopped. The jobs are kept: make demo shows them again.")
        except (launcher.DemoError, EventsError) as error:
            raise CommandError(str(error)) from error

    def _run(self, stack: ExitStack, port: int) -> None:
        check_environment()
        self.check()
        launcher.check_port(port)
        self._print("Starting Redis ...")
        start_redis(stack)
        launcher.check_stopped()
        self._print("Preparing the database ...")
        call_command("migrate", verbosity=0, interactive=False)
        create_user()
        fail_interrupted_jobs()
        self._print("Starting the web server and the worker ...")
        children = launcher.start_children(stack, port)
        self._print(f"\n  Open http://127.0.0.1:{port}/ and log in as {USER} / {PASSWORD}.")
        self._print(
            "  The monitor is at /jobs/monitor/, the admin at /admin/, the API at /api/docs/."
            " Ctrl-C stops everything.\n"
        )
        while True:
            launcher.check_children(children)

    def _print(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def check_environment() -> None:
    """Raise DemoError if the demo would write into a database of the user."""
    if os.environ.get("DATABASE_URL"):
        raise launcher.DemoError(
            "DATABASE_URL is set, and the demo creates a user demo / demo and fails running jobs."
            " Unset it for the demo's own database, or run uvicorn and celery yourself:"
            " docs/how-to.md, Deploy."
        )


def start_redis(stack: ExitStack) -> None:
    """Start the embedded Redis, or check the server of REDIS_URL."""
    url = os.environ.get("REDIS_URL")
    if not url:
        redis = EmbeddedRedis(LOCAL_DIR / "redis")
        stack.callback(redis.stop)
        redis.start()
    elif not is_reachable(url):
        raise launcher.DemoError(
            "No Redis answers at REDIS_URL. Start it, or unset REDIS_URL to get one."
        )


def create_user() -> None:
    """Create the demo user, a superuser."""
    users = get_user_model().objects
    if not users.filter(username=USER).exists():
        users.create_superuser(USER, password=PASSWORD)


def fail_interrupted_jobs() -> None:
    """Fail the jobs that were running when the demo was stopped; no worker runs yet."""
    for job in Job.objects.filter(status=Job.Status.RUNNING):
        error = "The demo was stopped while this job was running. Retry it."
        services.job_fail(job_id=job.job_id, error=error)
