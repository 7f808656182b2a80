"""WebSocket routes, here with the prefix `ws/`. Import them in the project's `asgi.py`."""

from typing import Any, cast

from django.urls import path

from jobs.live.consumers import JobConsumer
from jobs.live.multiplex_consumer import MultiplexConsumer

websocket_urlpatterns: Any = [
    path("ws/jobs/<str:job_id>/", cast(Any, JobConsumer.as_asgi())),
    path("ws/events/", cast(Any, MultiplexConsumer.as_asgi())),
]
