"""The pages tell the staff that nothing processes the log."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from events.models import Processor
from jobs.models import Job

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LIST = reverse("job_events:list")
SAID = "Events are not processed"


def pages(owner):
    job = Job.objects.create(owner=owner, task_type="manual")
    return [LIST, reverse("job_events:detail", kwargs={"job_id": job.job_id})]


def text(response):
    assert response.status_code == 200
    return response.content.decode()


def start_processor():
    now = timezone.now()
    Processor.objects.create(name="host:1", started_at=now, heartbeat_at=now)


def test_the_staff_is_told_what_to_start(client, staff):
    client.force_login(staff)
    for url in pages(staff):
        page = text(client.get(url))
        assert SAID in page
        assert "<code>manage.py process_events</code>" in page
        assert reverse("admin:job_events_processor_changelist") in page


def test_while_it_runs_nothing_is_said(client, staff):
    start_processor()
    client.force_login(staff)
    for url in pages(staff):
        assert SAID not in text(client.get(url))


def test_others_are_not_bothered(client, user):
    client.force_login(user)
    for url in pages(user):
        assert SAID not in text(client.get(url))


def test_what_refreshes_the_list_does_not_ask(client, staff):
    client.force_login(staff)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert SAID not in text(client.get(LIST, {"rows": "1"}))
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
