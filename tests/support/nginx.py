"""Debian's nginx in front of a site, as a process of the tests' own."""

import copy
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.site import Site, free_port, wait_for_port

# Debian keeps it where only root looks for commands.
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")

# It buffers, and waits for an answer, as it does by default; it compresses all that it can. What
# it is told besides: where its files are, whom the browser asks, and what makes a WebSocket.
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
    """One process on a port of its own, whose files are all in one folder."""

    def __init__(self, directory: Path, site: Site, more: str = "") -> None:
        """`more` are directives for all that it serves."""
        self.directory = directory
        self.port = free_port()
        conf = CONF.format(port=self.port, site=site.port, more=more)
        (directory / "own.conf").write_text(conf)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.directory / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [NGINX or "nginx", "-p", self.directory, "-c", "own.conf"],
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
    """The site as it is seen through an nginx."""
    directory.mkdir()
    nginx = Nginx(directory, site, more)
    try:
        nginx.start()
        yield at_port(site, nginx.port)
    finally:
        nginx.stop()


def at_port(site: Site, port: int) -> Site:
    """The same site, asked at another port."""
    other = copy.copy(site)
    other.port = port
    other.url = f"http://127.0.0.1:{port}"
    other.ws_url = f"ws://127.0.0.1:{port}"
    return other


@contextmanager
def another_web(site: Site, **environment: str) -> Iterator[Site]:
    """The same site, served by one more process with an environment of its own."""
    other = at_port(site, free_port())
    other.environment = {**site.environment, **environment}
    web = other.start_web()
    try:
        yield other
    finally:
        other.stop_child(web)


def more_settings(directory: Path, line: str) -> dict[str, str]:
    """The environment of a process whose settings have one more line."""
    name = "settings_and_more"
    (directory / f"{name}.py").write_text(f"from tests.support.site_settings import *\n{line}\n")
    path = [str(directory), os.environ.get("PYTHONPATH", "")]
    return {
        "DJANGO_SETTINGS_MODULE": name,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
    }
