"""nginx in front of a site, started by the tests."""

import copy
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.site import Site, free_port, wait_for_port

# Debian installs nginx outside of the PATH of other users than root.
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")

# Defaults for buffering and timeouts; compression of all types; paths of files, the Host header and
# the WebSocket upgrade.
CONF = """
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events {{}}
http {{
    access_log access.log;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    gzip on;
    gzip_types application/json text/event-stream;
    {more}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{site};
            proxy_set_header Host $http_host;
        }}
        location /ws/ {{
            proxy_pass http://127.0.0.1:{site};
            proxy_set_header Host $http_host;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }}
    }}
}}
"""


class Nginx:
    """One nginx process on a free port, with all files in one folder."""

    def __init__(self, directory: Path, site: Site, more: str = "") -> None:
        """`more` are directives of the http block."""
        self.directory = directory
        self.port = free_port()
        conf = CONF.format(port=self.port, site=site.port, more=more)
        (directory / "nginx.conf").write_text(conf)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.directory / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [NGINX or "nginx", "-p", self.directory, "-c", "nginx.conf"],
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_for_port(self.port, self._process)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)


@contextmanager
def behind_nginx(site: Site, directory: Path, more: str = "") -> Iterator[Site]:
    """Start nginx in front of a site; yield the site with the port of nginx."""
    directory.mkdir()
    nginx = Nginx(directory, site, more)
    try:
        nginx.start()
        yield at_port(site, nginx.port)
    finally:
        nginx.stop()


def at_port(site: Site, port: int) -> Site:
    """Return a copy of the site with another port."""
    other = copy.copy(site)
    other.port = port
    other.url = f"http://127.0.0.1:{port}"
    other.ws_url = f"ws://127.0.0.1:{port}"
    return other


@contextmanager
def another_web(site: Site, *options: str, **environment: str) -> Iterator[Site]:
    """Start another web server of the site, with additional options and environment variables."""
    other = at_port(site, free_port())
    other.environment = {**site.environment, **environment}
    web = other.start_web(*options)
    try:
        yield other
    finally:
        other.stop_child(web)


def extend_settings(directory: Path, line: str) -> dict[str, str]:
    """Write a settings module with additional lines; return the environment that selects it."""
    name = "extended_settings"
    (directory / f"{name}.py").write_text(f"from tests.support.site_settings import *\n{line}\n")
    path = [str(directory), os.environ.get("PYTHONPATH", "")]
    return {
        "DJANGO_SETTINGS_MODULE": name,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
    }
