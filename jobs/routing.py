"""The WebSocket routes, shown here below `/ws/`."""

from typing import Any, cast

from django.apps import apps
from django.urls import path

from jobs.live.consumers import JobConsumer
from jobs.live.multiplex_consumer import MultiplexConsumer

websocket_urlpatterns: Any = [
    path("ws/jobs/<str:job_id>/", cast(Any, JobConsumer.as_asgi())),
    path("ws/events/", cast(Any, MultiplexConsumer.as_asgi())),
]

cast(Any, apps.get_app_config("job_events_jobs")).has_sockets = True
