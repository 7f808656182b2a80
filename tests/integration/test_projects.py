"""The snippets of projects.md and migrating.md, and the checks that they name."""

import asyncio
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.db import connections
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.http import Http404
from django.urls import path, re_path

from events import checks
from events.checks import check_sqlite
from events.history import aread_events, read_events
from events.publisher import get_publisher
from jobs import services
from jobs.checks import check_urls
from jobs.models import Job
from tests.integration.test_documents import eager_celery, snippets
from tests.support.site import ROOT

__all__ = ["eager_celery"]

pytestmark = pytest.mark.django_db(transaction=True)

PROJECTS = snippets(ROOT / "docs" / "projects.md")
MIGRATING = snippets(ROOT / "docs" / "migrating.md")
IS_SQLITE = connections["default"].vendor == "sqlite"


def executed(code: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "documented_projects"}
    exec(code, namespace)
    return namespace


def types_of(job_id: str) -> list[str]:
    return [event.event_type for event in read_events(job_id)]


def join_threads(before: set[threading.Thread]) -> None:
    for thread in {*threading.enumerate()} - before:
        if not thread.daemon:
            thread.join(10)


def test_view_that_starts_a_thread(rf, user):
    request = rf.post("/")
    request.user = user
    before = {*threading.enumerate()}
    response = executed(PROJECTS["view"])["start_import"](request)
    join_threads(before)
    job = Job.objects.get()
    assert (response.status_code, job.status, job.result) == (202, "completed", {"rows": 3})
    assert types_of(job.job_id)[:3] == ["job_created", "task_started", "row_imported"]


def test_thread_that_fails_fails_its_job(user):
    namespace = executed(PROJECTS["view"])
    job = services.job_create(task_type="import", owner=user)
    namespace["range"] = lambda _: 1 / 0
    failed: list[BaseException] = []

    def work() -> None:
        try:
            namespace["run_import"](job.job_id)
        except ZeroDivisionError as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    job.refresh_from_db()
    assert (len(failed), job.status, job.error) == (1, "failed", "division by zero")


def test_log_without_a_row(client, staff, rf):
    executed(PROJECTS["log"])["on_stock_changed"](SimpleNamespace(pk=7), 3)
    client.force_login(staff)
    assert client.get("/api/jobs/product-7/events/").status_code == 404
    view = executed(PROJECTS["log-view"])["product_history"]
    request = rf.get("/")
    request.user = staff
    body = view(request, 7).content.decode()
    assert '"amount": 3' in body
    event_id = read_events("product-7")[0].id
    request = rf.get("/", {"after": event_id})
    request.user = staff
    assert view(request, 7).content == b'{"events": []}'


async def test_stream_of_a_log_without_a_row(async_rf, user, monkeypatch):
    namespace = executed(PROJECTS["log-stream"])
    await sync_to_async(get_publisher().publish_event)("product-7", {"event_type": "stock_changed"})

    async def permitted(self, name):
        return name == "shop.view_product"

    async def auser():
        return user

    request = async_rf.get("/")
    request.auser = auser
    assert (await namespace["product_stream"](request, 7)).status_code == 403
    monkeypatch.setattr(type(user), "ahas_perm", permitted)
    response = await namespace["product_stream"](request, 7)
    assert response["Content-Type"].startswith("text/event-stream")
    chunks = aiter(response)
    text = b""
    async with asyncio.timeout(10):
        while b"event: live" not in text:
            text += await anext(chunks)
    await response._iterator.aclose()  # Django leaves it to the garbage collector
    assert b"stock_changed" in text


def test_wrapped_task(settings, eager_celery, user):
    namespace = executed(PROJECTS["wrapped"])
    assert namespace["convert"].delay("a.odt").get() == "a.odt.pdf"
    runners = {"conversion": namespace["convert_job"]}
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": runners}
    job = executed(PROJECTS["wrapped-call"])["upload"](user, "a.odt")
    job.refresh_from_db()
    assert (job.status, job.result) == ("completed", "a.odt.pdf")
    assert "task_progress" in types_of(job.job_id)


def spa_urlconf(*, first: bool) -> ModuleType:
    module = ModuleType("spa_urls")
    exec(PROJECTS["spa"], module.__dict__)
    if first:
        module.urlpatterns.reverse()
    return module


def test_routes_before_a_catch_all_are_kept(settings, client, admin_user):
    settings.ROOT_URLCONF = spa_urlconf(first=False)
    client.force_login(admin_user)
    assert client.get("/jobs/").status_code == client.get("/api/jobs/").status_code == 200
    assert check_urls(None) == []


def test_check_reports_a_catch_all_before_them(settings):
    settings.ROOT_URLCONF = spa_urlconf(first=True)
    messages = check_urls(None)
    assert [message.id for message in messages] == ["job_events.W002"] * 2
    assert messages[0].msg.startswith("The URL /jobs/ leads to ")


def test_check_of_urls_without_ours(settings):
    module = ModuleType("no_urls")

    def missing(request):
        raise Http404

    module.urlpatterns = [path("", missing), re_path("^more", missing)]
    settings.ROOT_URLCONF = module
    assert check_urls(None) == []


@pytest.mark.skipif(not IS_SQLITE, reason="about SQLite")
@pytest.mark.parametrize(
    ("option", "value", "fault"),
    [
        ("timeout", 5, "the timeout is 5000 ms"),
        ("transaction_mode", None, "the transaction_mode is not IMMEDIATE"),
        ("init_command", "PRAGMA journal_mode=DELETE", "the journal_mode is delete"),
    ],
)
def test_check_of_sqlite(monkeypatch, tmp_path, option, value, fault):
    options = executed(PROJECTS["sqlite"])["DATABASES"]["default"]["OPTIONS"]
    database = {**connections["default"].settings_dict, "NAME": str(tmp_path / "db.sqlite3")}
    for given, faults in [(options, []), ({**options, option: value}, [fault])]:
        connection = DatabaseWrapper({**database, "OPTIONS": given}, "default")
        monkeypatch.setattr(checks, "write_connection", lambda connection=connection: connection)
        messages = check_sqlite(None, databases=["default"])
        connection.close()
        assert [message.id for message in messages] == ["job_events.W013"] * len(faults)
        assert all(fault in messages[0].msg for fault in faults)
    assert check_sqlite(None) == []


# migrating.md


def test_publishing_instead_of_send_event_and_group_send():
    report = SimpleNamespace(job_id="abc", pk=7)
    executed(MIGRATING["eventstream"])["on_page"](report, 2)
    executed(MIGRATING["group-send"])["report_page"](report, 3)
    assert [(event.event_type, event.data["page"]) for event in read_events("abc")] == [
        ("page", 2),
        ("page_written", 3),
    ]


def test_progress_of_a_task_instead_of_celery_progress(settings, eager_celery, rf, user):
    namespace = executed(MIGRATING["celery-progress"])
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": {"count": namespace["count"]}}
    namespace["render"] = lambda request, template, context: context["job"]
    request = rf.get("/")
    request.user = user
    job = namespace["view"](request)
    job.refresh_from_db()
    assert (job.status, job.result, job.progress) == ("completed", "done", 100)
    assert types_of(job.job_id).count("task_progress") == 10


async def test_consumer_that_follows_a_log():
    report = SimpleNamespace(job_id="abc")
    publish = sync_to_async(executed(MIGRATING["group-send"])["report_page"])
    await publish(report, 1)
    consumer = executed(MIGRATING["group-consumer"])["ReportConsumer"]
    application = URLRouter([path("<str:job_id>/", consumer.as_asgi())])
    socket = WebsocketCommunicator(application, "/abc/")
    assert (await socket.connect())[0]
    assert await socket.receive_json_from(5) == {"page": 1}
    await publish(report, 2)
    assert await socket.receive_json_from(5) == {"page": 2}
    await socket.disconnect()
    assert len(await aread_events("abc")) == 2
