"""Shared fixtures: Redis, users, and the site as processes."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections, transaction
from django.test import TransactionTestCase

from config.celery import app as celery_app
from config.celery_broker import broker_url
from events.outbox.writer import redis_breaker
from events.producer.batch import LastAcked
from events.producer.sender import senders_of, sync_sender
from events.streams.clients import close_async_redis, get_redis
from events.testing.redis_server import EmbeddedRedis
from tests.support.need import receive_missing, report_missing, send_missing
from tests.support.pending_tasks import describe_pending_tasks
from tests.support.redis_tls import require_tls
from tests.support.scheduling import FolderScheduling, make_ids_unique, sort_by_scope
from tests.support.site import Site, started


def pytest_sessionfinish(session: pytest.Session) -> None:
    send_missing(session.config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    """Replace lone surrogates in captured output: pytest-xdist sends it as UTF-8.

    For a test that timed out, add the tasks of asyncio: pytest-timeout prints threads only.
    """
    report = yield
    if call.excinfo and "pytest-timeout" in str(call.excinfo.value):
        report.sections.append(("Pending tasks", describe_pending_tasks()))
    report.sections = [
        (name, text.encode("utf-8", "replace").decode()) for name, text in report.sections
    ]
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    receive_missing(node.config, node)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for line in report_missing(config):
        terminalreporter.write_line(line, yellow=True)


@pytest.fixture(scope="session")
def session_tmp() -> Iterator[Path]:
    """A folder with a path that is short enough for unix sockets."""
    directory = Path(tempfile.mkdtemp(prefix="je"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def short_tmp(session_tmp: Path) -> Iterator[Path]:
    """A folder of the test, also with a short path."""
    directory = Path(tempfile.mkdtemp(prefix="", dir=session_tmp))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def redis_server(session_tmp: Path) -> Iterator[EmbeddedRedis]:
    """The Redis of this test run; the settings and Celery use it."""
    with pytest.MonkeyPatch.context() as patch:
        if os.environ.get("TEST_REDIS_TLS"):
            require_tls(session_tmp, patch)
        server = EmbeddedRedis(session_tmp / "redis", save="")
        server.start()
        settings.JOB_EVENTS["REDIS_URL"] = server.url
        settings.CHANNEL_LAYERS = {}
        # Before 5.7, Celery reads the settings over what is configured before its first use.
        settings.CELERY_BROKER_URL = celery_app.conf.broker_url = broker_url(server.url)
        yield server
        server.stop()


@pytest.fixture(autouse=True)
def empty_redis(redis_server: EmbeddedRedis) -> None:
    get_redis().flushall()
    redis_breaker.record_success()  # an earlier test may have opened it
    # Ids that publishers remember from earlier tests may be higher than those of the current clock.
    sync_sender(senders_of(get_redis())).last_acked = LastAcked()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    session_tmp: Path, django_db_modify_db_settings_parallel_suffix: None
) -> None:
    """Use a file on SQLite, like users: an in-memory database has other locks."""
    database = connections["default"]
    if database.vendor == "sqlite":
        database.settings_dict["TEST"]["NAME"] = str(session_tmp / "test.sqlite3")


# Filled by `migrate`, and not changed by tests.
KEPT_TABLES = {"auth_permission", "django_content_type"}


@pytest.fixture(scope="session", autouse=True)
def _quick_teardown() -> Iterator[None]:
    """Only empty the tables after a test.

    Django also creates all permissions again and closes the connection, which takes longer than
    most tests.
    """

    def empty(test_case: Any) -> None:
        for alias in test_case._databases_names(include_mirrors=False):
            connection = connections[alias]
            with transaction.atomic(alias), connection.cursor() as cursor:
                tables = connection.introspection.django_table_names(include_views=False)
                for table in sorted({*tables} - KEPT_TABLES):
                    cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty)
        patch.setattr(TransactionTestCase, "_should_reload_connections", lambda _: False)
        yield


@pytest.fixture
def redis_client() -> redis.Redis:
    """The sync client of the project, with replies as bytes."""
    return get_redis()


@pytest.fixture
async def async_redis(redis_server: EmbeddedRedis) -> AsyncIterator[redis.asyncio.Redis]:
    """An async client of a user, with replies as bytes."""
    client = redis.asyncio.Redis.from_url(redis_server.url)
    yield client
    await client.aclose()
    await asyncio.sleep(0)


@pytest.fixture(autouse=True)
async def _close_async_redis(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    yield
    await close_async_redis()
    await asyncio.sleep(0)  # the transport is closed in the next iteration of the loop
    await sync_to_async(connections.close_all)()  # that of the async thread


@pytest.fixture(scope="session")
def site(session_tmp: Path) -> Iterator[Site]:
    """A site with uvicorn, a Celery worker, Redis and a database."""
    with started(Site, session_tmp / "site") as site:
        yield site


@pytest.fixture
def user(django_user_model: Any, db: None) -> Any:
    return django_user_model.objects.create_user("anna", password="anna")


@pytest.fixture
def other_user(django_user_model: Any, db: None) -> Any:
    return django_user_model.objects.create_user("bert", password="bert")


@pytest.fixture
def staff(django_user_model: Any, db: None) -> Any:
    return django_user_model.objects.create_superuser("demo", password="demo")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Make test ids unique; sort parallel tests; extend the timeout of tests that start the site.

    pytest-randomly has shuffled the tests, and those of other markers are deselected.
    """
    make_ids_unique(items)
    if hasattr(config, "workerinput"):
        sort_by_scope(items)
    for item in items:
        if "site" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(180))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FolderScheduling:
    return FolderScheduling(config, log)
