"""Broker URL of Celery for a Redis URL."""

import pytest

from config.celery_broker import broker_url


@pytest.mark.parametrize("url", ["redis://h:1/2", "rediss://:secret@h:1/2"])
def test_tcp_url_is_unchanged(url):
    assert broker_url(url) == url


def test_unix_socket():
    assert broker_url("unix:///run/redis.sock") == "redis+socket:///run/redis.sock"


def test_unix_socket_with_password_and_database():
    url = broker_url("unix://:secret@/run/redis.sock?db=3")
    assert url == "redis+socket://:secret@/run/redis.sock?virtual_host=3"
