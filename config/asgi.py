"""The site for ASGI servers: `uvicorn config.asgi:application`."""

import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django_application = get_asgi_application()

# ruff: noqa: E402 - these need the apps to be loaded
from config.static import with_static
from jobs.routing import websocket_urlpatterns

application = ProtocolTypeRouter(
    {
        "http": with_static(django_application),
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(URLRouter(websocket_urlpatterns))
        ),
    }
)
