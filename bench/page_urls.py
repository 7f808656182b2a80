"""URLconf of `bench.pages`: the baseline views and the routes of the site."""

import json
from typing import Any, ClassVar

import orjson
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from bench.pages import COLD, HOT, PAGE, SELECT
from events.fields import unpack
from events.models import ArchivedEvent
from events.streams.clients import get_redis


def stream_page(_request: HttpRequest) -> HttpResponse:
    rows = []
    for entry_id, entry in get_redis().xrange(f"job_events:{HOT}", count=PAGE):
        event_type, timestamp = entry[b"event_type"].decode(), entry[b"timestamp"].decode()
        rows.append((entry_id.decode(), event_type, timestamp, entry[b"data"]))
    return page_response(HOT, rows)


def archive_page(_request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute(SELECT, [COLD, PAGE])
        rows = cursor.fetchall()
    return page_response(
        COLD, [(str(unpack(row[0])), row[1], row[2], row[3].encode()) for row in rows]
    )


def page_response(job_id: str, events: list[tuple[str, str, str, bytes]]) -> HttpResponse:
    results = [
        {
            "id": event_id,
            "job_id": job_id,
            "event_type": event_type,
            "timestamp": timestamp,
            "data": orjson.Fragment(data),
        }
        for event_id, event_type, timestamp, data in events
    ]
    return HttpResponse(orjson.dumps({"results": results}), content_type="application/json")


class EventSerializer(serializers.ModelSerializer[ArchivedEvent]):
    id = serializers.CharField(source="event_id")
    job_id = serializers.CharField(source="log.job_id")
    data = serializers.SerializerMethodField()

    class Meta:
        model = ArchivedEvent
        fields: ClassVar[list[str]] = ["id", "job_id", "event_type", "timestamp", "data"]

    def get_data(self, event: ArchivedEvent) -> Any:
        return json.loads(event.data)  # as Django's JSONField does


class SerializerView(APIView):
    def get(self, request: Request) -> Response:
        events = ArchivedEvent.objects.filter(log__job_id=COLD).select_related("log")
        page = events.order_by("event_id")[:PAGE]
        return Response({"results": EventSerializer(page, many=True).data})


urlpatterns = [
    path("bare/stream/", stream_page),
    path("bare/archive/", archive_page),
    path("serializer/", SerializerView.as_view()),
    path("", include("config.urls")),
]
