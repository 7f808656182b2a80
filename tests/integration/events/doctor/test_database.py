"""Findings about the database: connection, migrations, settings, writes."""

import pytest
from django.db import connection, connections
from django.db.migrations.recorder import MigrationRecorder

from events.doctor import database
from tests.integration.events.doctor.conftest import find
from tests.support.database import read_only_database

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def test_connection():
    finding = find("database-connection")
    assert finding.state == "ok"
    assert finding.seen.startswith(("SQLite 3.", "PostgreSQL "))


def test_migrations(db):
    assert find("database-migrations").state == "ok"
    rows = MigrationRecorder.Migration.objects
    for app, state in (("sessions", "warning"), ("job_events", "error")):
        removed = list(rows.filter(app=app))
        rows.filter(app=app).delete()
        try:
            finding = find("database-migrations")
        finally:
            rows.bulk_create(removed)
        assert finding.state == state
        assert f"{app}.0001_initial" in finding.seen


def test_settings(monkeypatch):
    assert find("database-settings").state == "ok"
    if connection.vendor == "sqlite":
        monkeypatch.setattr(connections["default"], "transaction_mode", None)
    else:
        monkeypatch.delitem(connection.settings_dict["OPTIONS"], "connect_timeout")
    finding = find("database-settings")
    assert finding.state == "warning"
    assert ("IMMEDIATE" if connection.vendor == "sqlite" else "connect_timeout") in finding.seen


def test_timeout_of_sqlite():
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 100")
        try:
            assert "the timeout is 100 ms" in find("database-settings").seen
        finally:
            connections.close_all()


def test_connections_and_isolation_of_postgresql(monkeypatch):
    if connection.vendor == "postgresql":
        monkeypatch.setattr(database, "MAX_CONNECTION_SHARE", 0.001)
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_isolation = 'serializable'")
        try:
            seen = find("database-settings").seen
        finally:
            connections.close_all()
        assert "connections are in use" in seen
        assert "the isolation level is serializable" in seen


def test_other_databases(monkeypatch):
    monkeypatch.setattr(connections["default"], "vendor", "mysql")
    assert "not tested" in find("database-settings").seen


def test_writes():
    assert find("database-writes").state == "ok"
    assert not database.EventLog.objects.exists()
    with read_only_database(), pytest.raises(Exception, match=r"readonly|read-only"):
        find("database-writes")
