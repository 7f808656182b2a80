"""Findings about jobs: logs without a job, the channel layer."""

from datetime import timedelta

import pytest
from channels.layers import channel_layers
from django.contrib.auth import get_user_model
from django.utils import timezone

from events.doctor.responses import FirstByte
from events.erasure import delete_log
from events.models import EventLog
from jobs import services
from jobs.models import AlertDelivery, Job
from tests.integration.events.doctor.conftest import find
from tests.integration.jobs.alerts.receivers import make_message

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # channels_redis 4.2 with Channels 4.2
    pytest.mark.filterwarnings("ignore:valid_.*_name is deprecated:DeprecationWarning"),
]


@pytest.mark.database
def test_logs_without_a_job():
    services.job_create(task_type="manual", job_id="a")
    assert EventLog.objects.count() == 1
    assert find("logs-without-job").state == "ok"
    EventLog.objects.create(job_id="job_001")
    finding = find("logs-without-job")
    assert finding.state == "warning"
    assert finding.seen == "1 of the newest 10,000 logs, the last is job_001."
    delete_log("job_001")
    assert find("logs-without-job").state == "ok"


@pytest.mark.database
def test_alert_deliveries():
    message = make_message("hook", "ops")
    assert find("alert-deliveries").state == "ok"
    deliveries = AlertDelivery.objects.order_by("channel")
    deliveries.filter(channel="hook").update(attempts=2, error="no route")
    finding = find("alert-deliveries")
    seen = "0 given up within a day, 1 retried; channels: hook. The newest: no route"
    assert (finding.state, finding.seen) == ("warning", seen)
    deliveries.filter(channel="ops").update(attempts=11, next_at=None, error="no host")
    finding = find("alert-deliveries")
    seen = "1 given up within a day, 1 retried; channels: hook, ops. The newest: no host"
    assert (finding.state, finding.seen) == ("error", seen)
    deliveries.filter(channel="hook").update(next_at=None, delivered_at=timezone.now())
    type(message).objects.update(created_at=timezone.now() - timedelta(days=2))
    assert find("alert-deliveries").state == "ok"


@pytest.fixture
def layer(settings):
    """Use a channel layer."""

    def layer(backend, **config):
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}
        channel_layers.backends.clear()

    yield layer
    channel_layers.backends.clear()


REDIS_LAYER = "channels_redis.core.RedisChannelLayer"


def test_channel_layer(layer, redis_server):
    for backend in (REDIS_LAYER, "channels_redis.pubsub.RedisPubSubChannelLayer"):
        layer(backend, hosts=[{"address": redis_server.url, "socket_timeout": None}])
        finding = find("channel-layer")
        assert (finding.state, finding.seen) == ("ok", f"{backend.rpartition('.')[2]} delivers.")


def test_no_channel_layer():
    finding = find("channel-layer")
    assert (finding.state, "five seconds late" in finding.seen) == ("warning", True)


def test_channel_layer_of_one_process(layer):
    layer("channels.layers.InMemoryChannelLayer")
    assert find("channel-layer").state == "warning"


def test_channel_layer_without_a_server(layer):
    layer(REDIS_LAYER, hosts=["redis://127.0.0.1:1"])
    with pytest.raises(Exception, match="connect"):
        find("channel-layer")


def test_without_a_url():
    for name in ("served-static-files", "event-stream"):
        assert (find(name).state, find(name).seen) == ("skipped", "Needs --url.")


def test_without_a_user():
    finding = find("event-stream", url="http://127.0.0.1:1")
    assert (finding.state, finding.seen[:24]) == ("error", "There is no active user ")


def test_user_model_without_the_fields_of_django(monkeypatch):
    user = get_user_model().objects.create_user("anna")
    monkeypatch.setattr(
        type(user)._meta, "get_fields", lambda: [type(user)._meta.get_field("username")]
    )
    monkeypatch.setattr("jobs.doctor.first_byte", lambda url, _headers: FirstByte(url))
    finding = find("event-stream", url="http://127.0.0.1:1")
    assert finding.seen == "There is no response within 5 s: a proxy buffers it."
    assert not Job.objects.exists()
