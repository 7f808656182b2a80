"""`manage.py demo`: the whole site on this machine, with nothing else running."""

from argparse import ArgumentParser
from contextlib import ExitStack
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand

from config.demo import launcher as demo
from events.exceptions import EventsError
from jobs import services
from jobs.models import Job

USER = "demo"
PASSWORD = "demo"  # noqa: S105 - told on the login page


class Command(BaseCommand):
    """Starts Redis, process_events, the web server and a worker; one Ctrl-C ends all of them."""

    help = "Run the demo: Redis, process_events, uvicorn and a Celery worker, until Ctrl-C."
    requires_system_checks = ()  # they may open the database, which has to be ours

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the port."""
        parser.add_argument("--port", type=int, default=8000, help="of the web server (8000)")

    def handle(self, *_args: Any, port: int, **_options: Any) -> None:
        """Start everything, say where it is, and wait."""
        demo.stop_on_signals()
        try:
            with ExitStack() as stack:
                self._run(stack, port)
        except demo.Stopped:
            self.stdout.write("\nStopped. The jobs are kept: make demo shows them again.")
        except (demo.DemoError, EventsError) as error:
            raise CommandError(str(error)) from error

    def _run(self, stack: ExitStack, port: int) -> None:
        demo.check_environment()
        self.check()
        demo.check_port(port)
        self._say("Starting Redis ...")
        demo.start_redis(stack)
        self._say("Preparing the database ...")
        call_command("migrate", verbosity=0, interactive=False)
        self._create_user()
        self._fail_orphans()
        self._say("Starting the web server and the worker ...")
        started = demo.children(port)
        for child in started:
            stack.callback(child.stop)
            child.start()
        demo.wait_for_web(port, started)
        self._say(f"\n  Open http://127.0.0.1:{port}/ and log in as {USER} / {PASSWORD}.")
        self._say("  The admin is at /admin/, the API at /api/jobs/. Ctrl-C stops everything.\n")
        demo.watch(started)

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    def _create_user(self) -> None:
        users = get_user_model().objects
        if not users.filter(username=USER).exists():
            users.create_superuser(USER, password=PASSWORD)

    def _fail_orphans(self) -> None:
        """No worker runs yet: what is said to be running was interrupted by the last stop."""
        for job in Job.objects.filter(status=Job.Status.RUNNING):
            error = "The demo was stopped while this job ran. Retry it."
            services.job_fail(job_id=job.job_id, error=error)
