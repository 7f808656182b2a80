"""TLS for all Redis servers of a test run: they require a client certificate."""

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from events.testing.redis_server import EmbeddedRedis
from tests.support.redis_nodes import make_certificate
from tests.support.site import free_port


def require_tls(directory: Path, patch: pytest.MonkeyPatch) -> None:
    """Let EmbeddedRedis listen with TLS, with a certificate that is its own authority."""
    certificate, key = map(str, make_certificate(directory))
    query = {"ssl_ca_certs": certificate, "ssl_certfile": certificate, "ssl_keyfile": key}
    init = EmbeddedRedis.__init__

    def init_with_tls(self: EmbeddedRedis, directory: Path, **options: Any) -> None:
        port = str(free_port())
        files = {"tls-cert-file": certificate, "tls-key-file": key, "tls-ca-cert-file": certificate}
        init(self, directory, **{"tls-port": port, **files, **options})
        if "port" not in options:
            self.url = f"rediss://127.0.0.1:{port}/0?{urlencode(query)}"

    patch.setattr(EmbeddedRedis, "__init__", init_with_tls)
