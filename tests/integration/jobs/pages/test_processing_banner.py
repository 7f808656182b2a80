"""Staff see on the pages that `process_events` is not running."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from events.models import Processor
from jobs.models import Job

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LIST = reverse("job_events:list")
BANNER = "Events are not processed"


def pages(owner):
    job = Job.objects.create(owner=owner, task_type="manual")
    return [LIST, reverse("job_events:detail", kwargs={"job_id": job.job_id})]


def text(response):
    assert response.status_code == 200
    return response.content.decode()


def start_processor():
    now = timezone.now()
    Processor.objects.create(name="host:1", started_at=now, heartbeat_at=now)


def test_staff_see_the_command_to_start(client, staff):
    client.force_login(staff)
    for url in pages(staff):
        page = text(client.get(url))
        assert BANNER in page
        assert "<code>manage.py process_events</code>" in page
        assert reverse("admin:job_events_processor_changelist") in page


def test_no_banner_while_it_runs(client, staff):
    start_processor()
    client.force_login(staff)
    for url in pages(staff):
        assert BANNER not in text(client.get(url))


def test_other_users_see_no_banner(client, user):
    client.force_login(user)
    for url in pages(user):
        assert BANNER not in text(client.get(url))


def test_live_refresh_does_not_query_it(client, staff):
    client.force_login(staff)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert BANNER not in text(client.get(LIST, {"rows": "1"}))
    assert "processor" not in str(queries.captured_queries)


def test_it_costs_one_query(client, staff):
    client.force_login(staff)
    for url in pages(staff):
        with CaptureQueriesContext(connection) as queries:
            client.get(url)
        asked = [
            query for query in queries.captured_queries if "job_events_processor" in query["sql"]
        ]
        assert len(asked) == 1


def test_staff_see_that_redis_refuses_events(client, staff):
    start_processor()
    error = "RedisOutOfMemory: Redis is out of memory and refuses new events."
    Processor.objects.update(loops={"redis": {"failing": True, "error": error}})
    client.force_login(staff)
    for url in pages(staff):
        page = text(client.get(url))
        assert BANNER not in page
        assert "Redis is out of memory and refuses new events." in page
        assert "RedisOutOfMemory" not in page
    Processor.objects.update(loops={"redis": {"failing": False, "error": error}})
    for url in pages(staff):
        assert "out of memory" not in text(client.get(url))
