"""Every route, for the owner of a job, another user, and an anonymous user.

The routes are those of the URL configuration and of the sockets: a new route fails the test until
it is classified here.
"""

import pytest
from django.test import Client
from django.urls import get_resolver

from events.publisher import get_publisher
from jobs.access.tickets import make_ticket
from jobs.routing import websocket_urlpatterns
from jobs.services import job_create
from tests.integration.jobs.asgi import socket_of
from tests.integration.jobs.conftest import archived

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "cinnamon"
METHODS = ("get", "post", "put", "patch", "delete", "head", "options")
# Names of the routes of one job; the others are of several jobs or of none.
JOB_ROUTES = {
    "api-job-detail", "api-job-cancel", "api-job-retry", "api-job-ticket", "api-job-events",
    "api-job-events-export", "api-job-events-stream", "api-job-events-poll", "api-job-stream",
    "api-job-inputs", "detail",
}  # fmt: skip
LIST_ROUTES = {"api-job-list", "api-job-counts", "api-events", "list"}
MULTIPLEX_ROUTES = {"api-events-stream"}
OTHER_ROUTES = {"new", "login", "logout", "api-schema", "api-docs"}
PUBLIC_ROUTES = {"login"}
SOCKETS = {"ws/jobs/", "ws/events/"}


def routes():
    """Return the names of all routes, with their URLs for the job `abc`."""
    addresses = {}
    for namespace, (prefix, resolver) in get_resolver().namespace_dict.items():
        if namespace == "job_events":
            for name, options in resolver.reverse_dict.lists():
                if isinstance(name, str):
                    [(pattern, arguments)] = options[0][0]
                    addresses[name] = f"/{prefix}{pattern % dict.fromkeys(arguments, 'abc')}"
    return addresses


ROUTES = routes()


@pytest.fixture
def job(user, other_user):
    """A job of anna with a secret in its title and events, and one of bert without."""
    job = job_create(job_id="abc", owner=user, task_type="manual", title=SECRET)
    get_publisher().publish_event("abc", {"event_type": SECRET, "text": SECRET})
    job_create(job_id="other", owner=other_user, task_type="manual")
    archived()
    return job


def client_of(user):
    client = Client(raise_request_exception=True)
    if user is not None:
        client.force_login(user)
    return client


def request(client, method, path):
    body = {} if method in ("get", "head") else {"data": "{}", "content_type": "application/json"}
    answer = getattr(client, method)(path, **body)
    content = answer.getvalue() if answer.streaming else answer.content
    return answer, content.decode() + str(answer.headers)


def test_every_route_is_classified():
    assert set(ROUTES) == JOB_ROUTES | LIST_ROUTES | MULTIPLEX_ROUTES | OTHER_ROUTES
    patterns = [str(route.pattern).lstrip("^") for route in websocket_urlpatterns]
    assert len(patterns) == len(SOCKETS)
    assert all(any(pattern.startswith(socket) for socket in SOCKETS) for pattern in patterns)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", sorted(JOB_ROUTES))
def test_job_of_another_user_is_not_found(other_user, job, name, method):
    answer, text = request(client_of(other_user), method, ROUTES[name])
    allowed = {404, 405, 200} if method == "options" else {404, 405}
    assert answer.status_code in allowed
    assert SECRET not in text
    there_is_none = ROUTES[name].replace("abc", "xyz")
    none, words = request(client_of(other_user), method, there_is_none)
    assert none.status_code == answer.status_code
    if answer.status_code == 404:
        assert words.replace("xyz", "abc") == text


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", sorted(JOB_ROUTES | LIST_ROUTES | MULTIPLEX_ROUTES | OTHER_ROUTES))
def test_anonymous_users_are_rejected(job, name, method):
    path = ROUTES[name] + ("?job=abc" if name in MULTIPLEX_ROUTES else "")
    answer, text = request(client_of(None), method, path)
    if name not in PUBLIC_ROUTES:
        allowed = {200} if method == "options" and name in OTHER_ROUTES else set()
        assert answer.status_code in {301, 302, 401, 403, 405} | allowed
    assert SECRET not in text


@pytest.mark.parametrize("name", sorted(LIST_ROUTES))
@pytest.mark.parametrize("query", ["", f"?search={SECRET}", f"?event_type={SECRET}", "?owner=anna"])
def test_lists_contain_own_jobs_only(user, other_user, job, name, query):
    of_owner, text = request(client_of(user), "get", ROUTES[name] + query)
    _, of_other = request(client_of(other_user), "get", ROUTES[name] + query)
    expected = '"pending":1' if name == "api-job-counts" else SECRET
    if of_owner.status_code == 200:
        assert expected in text
    words = of_other.replace(query, "").replace(SECRET, "", of_other.count("value="))
    assert SECRET not in words or "?search=" in query
    assert '"results":[{' not in of_other or '"job_id":"other"' in of_other


def test_stream_of_several_jobs(other_user, job):
    client = client_of(other_user)
    for query in ("job=abc", "job=other&job=abc", "job=abc&job=other"):
        answer, text = request(client, "get", f"{ROUTES['api-events-stream']}?{query}")
        assert answer.status_code == 404
        assert SECRET not in text


@pytest.mark.parametrize("name", sorted(JOB_ROUTES))
def test_ticket_authorizes_live_delivery_only(user, other_user, job, name):
    """A ticket of another job authorizes nothing here."""
    own, another = make_ticket(user, "abc"), make_ticket(other_user, "other")
    for ticket, allowed in ((own, {400, 401, 403, 302, 405, 501, 200}), (another, {401, 403, 302})):
        answer, text = request(client_of(None), "get", f"{ROUTES[name]}?ticket={ticket}")
        assert answer.status_code in allowed | {405}
        if name not in ("api-job-events-poll", "api-job-events-stream"):
            assert answer.status_code != 200
            assert SECRET not in text


async def test_sockets(user, other_user, job):
    for who in (other_user, None):
        socket = await socket_of(who)
        assert await socket.connect() in (4404, 4401, 4403)
    socket = await socket_of(other_user, "/ws/events/")
    assert await socket.connect() is None
    for job_id in ("abc", "nothing"):
        await socket.send(text=f'{{"action": "subscribe", "job_id": "{job_id}"}}')
        answer = await socket.receive()
        assert answer == {
            "type": "error",
            "job_id": job_id,
            "detail": f"The job_id {job_id} is not available.",
        }
    await socket.disconnect()
