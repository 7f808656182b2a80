"""Rate limits by scope."""

import pytest
from django.contrib.auth.models import Permission
from django.core.cache import cache

from events.publisher import get_publisher
from tests.integration.jobs.asgi import Request, cookie_of, socket_of

pytestmark = pytest.mark.django_db(transaction=True)

STREAM = "/api/jobs/abc/events/stream/"


@pytest.fixture(autouse=True)
def _empty_cache():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def limited(settings):
    def limited(*scopes):
        rates = {f"job_events_{scope}": "2/hour" for scope in scopes}
        settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": rates}

    return limited


@pytest.fixture
def job(user, make_job):
    user.user_permissions.add(Permission.objects.get(codename="publish_events"))
    return make_job(owner=user, job_id="abc")


def test_publishing(api, staff_api, job, limited):
    limited("publish")
    codes = [api.post("jobs/abc/events/", {"n": n}).status_code for n in range(3)]
    assert codes == [201, 201, 429]
    answer = api.post("jobs/abc/events/", {"n": 4})
    assert answer.json()["type"] == "urn:job-events:throttled"
    assert 3500 < int(answer["Retry-After"]) <= 3600
    assert staff_api.post("jobs/abc/events/", {"n": 5}).status_code == 201
    assert {api.get("jobs/abc/events/").status_code for _ in range(3)} == {200}


def test_exports(api, job, limited):
    limited("export")
    path = "/api/jobs/abc/events/export/"
    assert [api.client.get(path).status_code for _ in range(3)] == [200, 200, 429]


async def test_streams(user, job, limited):
    limited("connect")
    cookie = await cookie_of(user)
    codes = []
    for path in (STREAM, "/api/events/stream/?job=abc", STREAM):
        request = Request(path=path, cookie=cookie)
        codes.append(await request.status())
        await request.disconnect()
    assert codes == [200, 200, 429]


async def test_sockets(user, other_user, job, limited):
    limited("connect")
    for path, expected in (("/ws/jobs/abc/", None), ("/ws/events/", None)):
        socket = await socket_of(user, path)
        assert await socket.connect() is expected
        await socket.disconnect()
    for path in ("/ws/jobs/abc/", "/ws/events/"):
        socket = await socket_of(user, path)
        assert await socket.connect() == 1013
    socket = await socket_of(other_user, "/ws/events/")
    assert await socket.connect() is None
    await socket.disconnect()


async def test_replays(user, job, limited):
    limited("replay")
    cookie = await cookie_of(user)
    request = Request(path=f"{STREAM}?replay=1", cookie=cookie)
    assert await request.status() == 200
    await request.disconnect()
    socket = await socket_of(user, "/ws/jobs/abc/?replay=1")
    assert await socket.connect() is None
    await socket.disconnect()
    assert await Request(path=f"{STREAM}?replay=1", cookie=cookie).status() == 429
    socket = await socket_of(user, "/ws/jobs/abc/?replay=1")
    assert await socket.connect() == 1013
    request = Request(path=STREAM, cookie=cookie)
    assert await request.status() == 200
    await request.disconnect()


def test_scopes_without_a_rate_are_not_limited(api, job):
    get_publisher().publish_event("abc", {"n": 1})
    assert {api.post("jobs/abc/events/", {"n": n}).status_code for n in range(30)} == {201}
