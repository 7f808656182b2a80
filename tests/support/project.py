"""Another Django project: the site with other settings, in which scripts run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CalledProcessError

from tests.support.nginx import extend_settings
from tests.support.site import Site


@contextmanager
def project(directory: Path, settings: str, **environment: str) -> Iterator[Site]:
    """Start the Redis of a site whose settings module has additional lines; migrate nothing.

    `{directory}` in the lines is a folder for the files of the project.
    """
    directory.mkdir()
    site = Site(directory)
    lines = settings.replace("{directory}", str(directory))
    site.environment |= extend_settings(directory, lines) | environment
    site.redis.start()
    try:
        yield site
    finally:
        site.stop()


def run_script(site: Site, script: str) -> str:
    """Run Python code in the project; return its output. Fails with what it wrote to stderr."""
    try:
        return site.manage("shell", "--verbosity", "0", "-c", script)
    except CalledProcessError as error:
        raise AssertionError(error.stderr[-5000:]) from None
