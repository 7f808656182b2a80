"""ASGI application of the site: `uvicorn config.asgi:application`."""

import logging
import os

import django
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

# ruff: noqa: E402 - these imports need loaded apps
from config.handler import OneThreadHandler
from config.static import with_static
from events.live.asgi import DetachedStreamingMiddleware
from events.log_format import TicketFilter
from jobs.access.sockets import SocketOriginValidator
from jobs.routing import websocket_urlpatterns

# Of uvicorn: requests, and handshakes of WebSockets.
for name in ("uvicorn.access", "uvicorn.error"):
    logging.getLogger(name).addFilter(TicketFilter())

routes = ProtocolTypeRouter(
    {
        "http": OneThreadHandler(),
        "websocket": SocketOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))),
    }
)
application = with_static(DetachedStreamingMiddleware(routes))
