"""Every route there is, for a user who owns a job, for another, and for nobody.

The routes are those of the URL configuration and of the sockets, so that a new one cannot be
forgotten: whoever adds one says here what it is.
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
# What there is of one job, by the names of the routes; all else is of none, or of several.
OF_A_JOB = {
    "api-job-detail", "api-job-cancel", "api-job-retry", "api-job-ticket", "api-job-events",
    "api-job-events-export", "api-job-events-stream", "api-job-events-poll", "api-job-stream",
    "api-job-inputs", "detail",
}  # fmt: skip
OF_SEVERAL = {"api-job-list", "api-job-counts", "api-events", "list"}
OF_NAMED = {"api-events-stream"}
OF_NONE = {"new", "login", "logout", "api-schema", "api-docs"}
OPEN = {"login"}
SOCKETS = {"ws/jobs/", "ws/events/"}


def routes():
    """The names of all routes of ours, with their addresses for the job `abc`."""
    found = {}
    for namespace, (prefix, resolver) in get_resolver().namespace_dict.items():
        if namespace == "job_events":
            for name, options in resolver.reverse_dict.lists():
                if isinstance(name, str):
                    [(pattern, arguments)] = options[0][0]
                    found[name] = f"/{prefix}{pattern % dict.fromkeys(arguments, 'abc')}"
    return found


ROUTES = routes()


@pytest.fixture
def job(user, other_user):
    """A job of anna's that speaks of cinnamon, and one of bert's that does not."""
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


def asked(client, method, path):
    body = {} if method in ("get", "head") else {"data": "{}", "content_type": "application/json"}
    answer = getattr(client, method)(path, **body)
    content = answer.getvalue() if answer.streaming else answer.content
    return answer, content.decode() + str(answer.headers)


def test_every_route_is_said_to_be_of_something():
    assert set(ROUTES) == OF_A_JOB | OF_SEVERAL | OF_NAMED | OF_NONE
    patterns = [str(route.pattern).lstrip("^") for route in websocket_urlpatterns]
    assert len(patterns) == len(SOCKETS)
    assert all(any(pattern.startswith(socket) for socket in SOCKETS) for pattern in patterns)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", sorted(OF_A_JOB))
def test_a_job_of_anothers_is_not_there(other_user, job, name, method):
    answer, text = asked(client_of(other_user), method, ROUTES[name])
    allowed = {404, 405, 200} if method == "options" else {404, 405}
    assert answer.status_code in allowed
    assert SECRET not in text
    there_is_none = ROUTES[name].replace("abc", "xyz")
    none, words = asked(client_of(other_user), method, there_is_none)
    assert none.status_code == answer.status_code
    if answer.status_code == 404:
        assert words.replace("xyz", "abc") == text


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", sorted(OF_A_JOB | OF_SEVERAL | OF_NAMED | OF_NONE))
def test_nobody_gets_in(job, name, method):
    path = ROUTES[name] + ("?job=abc" if name in OF_NAMED else "")
    answer, text = asked(client_of(None), method, path)
    if name not in OPEN:
        allowed = {200} if method == "options" and name in OF_NONE else set()
        assert answer.status_code in {301, 302, 401, 403, 405} | allowed
    assert SECRET not in text


@pytest.mark.parametrize("name", sorted(OF_SEVERAL))
@pytest.mark.parametrize("query", ["", f"?search={SECRET}", f"?event_type={SECRET}", "?owner=anna"])
def test_lists_have_ones_own_only(user, other_user, job, name, query):
    of_owner, text = asked(client_of(user), "get", ROUTES[name] + query)
    _, of_other = asked(client_of(other_user), "get", ROUTES[name] + query)
    found = '"pending":1' if name == "api-job-counts" else SECRET
    if of_owner.status_code == 200:
        assert found in text
    words = of_other.replace(query, "").replace(SECRET, "", of_other.count("value="))
    assert SECRET not in words or "?search=" in query
    assert '"results":[{' not in of_other or '"job_id":"other"' in of_other


def test_several_jobs_by_one_stream(other_user, job):
    client = client_of(other_user)
    for query in ("job=abc", "job=other&job=abc", "job=abc&job=other"):
        answer, text = asked(client, "get", f"{ROUTES['api-events-stream']}?{query}")
        assert answer.status_code == 404
        assert SECRET not in text


@pytest.mark.parametrize("name", sorted(OF_A_JOB))
def test_a_ticket_is_for_live_delivery_alone(user, other_user, job, name):
    """And that of another job is for nothing here."""
    own, another = make_ticket(user, "abc"), make_ticket(other_user, "other")
    for ticket, allowed in ((own, {400, 401, 403, 302, 405, 501, 200}), (another, {401, 403, 302})):
        answer, text = asked(client_of(None), "get", f"{ROUTES[name]}?ticket={ticket}")
        assert answer.status_code in allowed | {405}
        if name not in ("api-job-events-poll", "api-job-events-stream"):
            assert answer.status_code != 200
            assert SECRET not in text


async def test_the_sockets(user, other_user, job):
    for who in (other_user, None):
        socket = await socket_of(who)
        assert await socket.connect() in (4404, 4401, 4403)
    socket = await socket_of(other_user, "/ws/events/")
    assert await socket.connect() is None
    for job_id in ("abc", "nothing"):
        await socket.say(text=f'{{"action": "subscribe", "job_id": "{job_id}"}}')
        answer = await socket.hear()
        assert answer == {"type": "error", "job_id": job_id, "detail": f"There is no job {job_id}."}
    await socket.leave()
