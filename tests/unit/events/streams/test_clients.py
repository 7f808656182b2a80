"""Errors of an invalid REDIS_URL."""

import traceback

import pytest

from events.exceptions import RedisUnavailable
from events.streams.clients import get_redis, is_reachable


@pytest.mark.parametrize("url", ["redis://:hun/ter2@h", "redis://:hunter2", "http://a:hunter2@h"])
def test_error_and_traceback_contain_no_part_of_the_password(settings, url):
    settings.JOB_EVENTS = {"REDIS_URL": url}
    with pytest.raises(RedisUnavailable) as caught:
        get_redis()
    shown = "".join(traceback.format_exception(caught.value))
    assert "hun" not in shown
    assert "ter2" not in shown
    assert not is_reachable(url)
