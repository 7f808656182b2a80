"""What each kind of principal receives from each route, socket and transport.

The routes are those of the URL configuration and of the sockets: a route or a method without an
entry in the tables fails `test_every_route_has_an_entry`.
"""

import json
from base64 import b64encode
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Permission
from django.test import AsyncClient, Client
from django.urls import URLResolver, get_resolver, reverse
from django.utils import timezone

from events.models import EventLog, Processor
from events.publisher import get_publisher
from jobs.models import Alert, AlertMessage, AlertRule, Job, Silence
from jobs.routing import websocket_urlpatterns
from jobs.services import job_cancel, job_create
from tests.integration.jobs.asgi import ORIGIN, Socket, cookie_of, log_out, ticket_of
from tests.integration.jobs.conftest import archived

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

in_thread = sync_to_async

# In the title and in an event of the job "abc" of anna.
SECRET = "cinnamon"
METHODS = ("get", "post", "put", "patch", "delete", "head", "options")

# Outcomes: SHOWN is a response with the secret, a number is the status of one without. HIDDEN is
# the 404 of a job that does not exist. LOGIN is the API's error or a redirect to a login page.
SHOWN, HIDDEN, DENIED, LOGIN = "shown", "hidden", "denied", "login"


def outcomes(anonymous, owner, other, staff, viewer, ticket=LOGIN):
    """Return the outcome by principal. Staff have no permission, viewers view jobs and logs."""
    users = {"owner": owner, "other": other, "staff": staff, "viewer": viewer}
    return {"anonymous": anonymous, "revoked": anonymous, "ticket": ticket, **users}


def of_job(owner, viewer=None, ticket=LOGIN):
    return outcomes(LOGIN, owner, HIDDEN, HIDDEN, viewer or owner, ticket)


def of_users(owner, other=None):
    return outcomes(LOGIN, owner, other or owner, other or owner, owner)


def of_all(outcome):
    return outcomes(*[outcome] * 6)


def of_staff(viewer, staff=DENIED):
    return outcomes(LOGIN, LOGIN, LOGIN, staff, viewer)


LIVE = of_job(SHOWN, ticket=SHOWN)
LOGIN_PAGE = outcomes(200, 302, 302, 302, 302, ticket=200)
# The outcomes of the methods of each route, in the order of the requests.
API = {
    "api-job-events": {"get": of_job(SHOWN), "post": of_job(DENIED)},
    "api-job-events-export": {"get": of_job(SHOWN)},
    "api-job-events-stream": {"get": LIVE},
    "api-job-events-poll": {"get": LIVE},
    "api-job-stream": {"get": of_job(200)},
    "api-job-inputs": {"get": of_job(200), "post": of_job(400, DENIED)},
    "api-job-ticket": {"post": of_job(201)},
    "api-job-list": {"get": of_users(SHOWN, 200), "post": of_users(201)},
    "api-job-counts": {"get": of_users(200)},
    "api-statistics": {"get": of_users(200)},
    "api-events": {"get": of_users(SHOWN, 200)},
    "api-events-stream": {"get": LIVE},
    "api-schema": {"get": of_users(200)},
    "api-job-cancel": {"post": of_job(409, DENIED)},
    "api-job-retry": {"post": of_job(SHOWN, DENIED)},
}
PAGES = {
    "": {"get": of_all(302)},
    "list": {"get": of_users(SHOWN, 200)},
    "detail": {"get": of_job(SHOWN), "post": of_job(302, DENIED)},
    "new": {"get": of_users(200), "post": of_users(422)},
    "monitor": {"get": of_users(DENIED)},
    "metrics": {"get": of_users(DENIED)},
    "login": {"get": LOGIN_PAGE, "post": LOGIN_PAGE},
    "api-docs": {"get": of_users(200)},
}
# By model and name of the view; the model alone redirects to an object.
ADMIN = {
    "job": {"get": of_staff(302, 302)},
    "job_changelist": {"get": of_staff(SHOWN)},
    "job_change": {"get": of_staff(SHOWN), "post": of_staff(DENIED)},
    "job_history": {"get": of_staff(SHOWN, 302)},
    "job_add": {"get": of_staff(DENIED), "post": of_staff(DENIED)},
    "job_delete": {"get": of_staff(DENIED), "post": of_staff(DENIED)},
}
for model in ("eventlog", "processor", "alert", "alertmessage", "alertrule", "silence"):
    ADMIN[model] = {"get": of_staff(302, 302)}
    for name in ("changelist", "change", "history"):
        ADMIN[f"{model}_{name}"] = {"get": of_staff(200)}
    for name in ("add", "delete"):
        ADMIN[f"{model}_{name}"] = {"get": of_staff(DENIED), "post": of_staff(DENIED)}
DETAIL = {"api-job-detail": {"get": of_job(SHOWN), "delete": of_job(204, DENIED)}}
LOGOUT = {"logout": {"get": of_all(405), "post": of_all(LOGIN)}}
# The last requests delete the job and end the session.
API |= DETAIL
ROUTES = {**PAGES, **ADMIN, **API, **LOGOUT}
SOCKETS = {"ws/jobs/<str:job_id>/": LIVE, "ws/events/": LIVE}

QUERIES = {"api-events-stream": "job=abc"}
FORM = "application/x-www-form-urlencoded"
BODIES = {
    "api-job-list": ('{"task_type": "manual"}', "application/json"),
    "detail": ("action=cancel", FORM),
    "new": ("", FORM),
    "login": ("username=anna", FORM),
}


# The routes of the URL configuration


def patterns(resolver, prefix=""):
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from patterns(pattern, route)
        else:
            yield route, pattern


def own_routes():
    """Return the route and the view by name, without those of Django's own views."""
    found = {}
    for route, pattern in patterns(get_resolver()):
        if route.startswith("i18n/"):
            continue
        name, model_admin = pattern.name or "", getattr(pattern.callback, "model_admin", None)
        if route.startswith("admin/"):
            if not type(model_admin).__module__.startswith(("jobs.admin", "events.admin")):
                continue
            options = model_admin.opts
            name = name.removeprefix(f"{options.app_label}_") or options.model_name
        assert name not in found
        found[name] = (route, pattern.callback)
    return found


VIEWS = own_routes()


def test_every_route_has_an_entry():
    assert set(VIEWS) == set(ROUTES)
    assert {str(route.pattern) for route in websocket_urlpatterns} == set(SOCKETS)
    for name, outcomes_of in ROUTES.items():
        _route, view = VIEWS[name]
        kind = getattr(view, "view_class", getattr(view, "cls", None))
        if kind is not None and kind.__module__.startswith("jobs."):
            methods = {each for each in kind.http_method_names if hasattr(kind, each)}
            assert methods - {"options", "put"} == set(outcomes_of), name


def path_of(name):
    route, _view = VIEWS[name]
    if name in ADMIN:
        rows = {
            "job": Job.objects.filter(job_id="abc"),
            "eventlog": EventLog.objects.filter(job_id="abc"),
            "processor": Processor.objects.all(),
            "alert": Alert.objects.all(),
            "alertmessage": AlertMessage.objects.all(),
            "alertrule": AlertRule.objects.all(),
            "silence": Silence.objects.all(),
        }[name.partition("_")[0]]
        return "/" + route.replace("<path:object_id>", str(rows.get().pk))
    arguments = {"job_id": "abc"} if "job_id" in route else {}
    return reverse(f"job_events:{name}", kwargs=arguments) if name else "/"


# Principals


@pytest.fixture
def job(user, other_user):
    """A finished job of anna with a secret in its title and events, and one of bert without."""
    job_create(job_id="abc", owner=user, task_type="manual", title=SECRET)
    get_publisher().publish_event("abc", {"event_type": SECRET, "text": SECRET})
    job = job_cancel(job_id="abc")
    job_create(job_id="other", owner=other_user, task_type="manual")
    archived()
    now = timezone.now()
    Processor.objects.create(name="abc", started_at=now, heartbeat_at=now)
    AlertRule.objects.create(name="abc", kind="problem")
    Alert.objects.create(rule="abc", state="firing", pending_at=now)
    AlertMessage.objects.create(rule="abc", state="firing", count=1, body={}, created_at=now)
    Silence.objects.create(rule="abc", starts_at=now, ends_at=now + timedelta(hours=1))
    return job


@pytest.fixture
def clerk(django_user_model):
    """A member of the staff without permissions."""
    return django_user_model.objects.create_user("clerk", password="clerk", is_staff=True)


@pytest.fixture
def viewer(django_user_model):
    """A member of the staff who may view jobs and logs."""
    viewer = django_user_model.objects.create_user("viewer", password="viewer", is_staff=True)
    names = ("job", "eventlog", "processor", "alert", "alertmessage", "alertrule", "silence")
    viewer.user_permissions.add(
        *Permission.objects.filter(codename__in=[f"view_{name}" for name in names])
    )
    return viewer


class Principal:
    """A session, a password or a ticket of a user, or nothing."""

    def __init__(self, user):
        self.user = user
        self.cookie, self.authorization, self.ticket = "", "", None

    async def request(self, method, path, query="", body=("{}", "application/json")):
        """Return the response, and its headers and body as text."""
        client = AsyncClient()
        client.cookies.load(self.cookie)
        query = "&".join(filter(None, [query, self.ticket and f"ticket={self.ticket}"]))
        response = await client.generic(
            method.upper(),
            f"{path}?{query}" if query else path,
            *(body if method not in ("get", "head") else ()),
            headers={"authorization": self.authorization} if self.authorization else {},
        )
        if not response.streaming:
            content = response.content
        elif response.is_async:
            content = b"".join([part async for part in response])
        else:
            content = b"".join(response)
        return response, f"{response.headers}{content.decode()}"

    async def outcome(self, method, name, path, query=""):
        body = BODIES.get(name, ("{}", "application/json"))
        response, text = await self.request(method, path, query, body)
        if SECRET in text:
            return SHOWN
        if response.status_code == 404:
            # The job is hidden if the response to a job that does not exist is the same.
            none = (each.replace("abc", "xyz") for each in (path, query))
            other, expected = await self.request(method, *none, body)
            assert other.status_code == 404
            assert text == expected.replace("xyz", "abc")
            return HIDDEN
        if response.status_code in (401, 403):
            return LOGIN if "not-authenticated" in text else DENIED
        if response.status_code == 302 and "/login/" in response["Location"]:
            return LOGIN
        return response.status_code


async def with_session(principal):
    principal.cookie = await cookie_of(principal.user)


async def with_password(principal):
    name = principal.user.get_username()
    principal.authorization = f"Basic {b64encode(f'{name}:{name}'.encode()).decode()}"


async def with_ticket(principal, job_id="abc"):
    """Give it a ticket that was obtained with what it has."""
    response, _ = await principal.request("post", f"/api/jobs/{job_id}/ticket/")
    principal.ticket = response.json()["ticket"]
    principal.authorization = ""


async def ticket_of_session(principal):
    await with_session(principal)
    await with_ticket(principal)


async def ticket_of_password(principal):
    await with_password(principal)
    await with_ticket(principal)


async def ticket_of_another_job(principal):
    principal.ticket = await in_thread(ticket_of)(principal.user, "other")


async def nothing(principal):
    pass


async def end_session(principal):
    await log_out(principal.cookie)


async def deactivate(principal):
    users = type(principal.user).objects
    await users.filter(pk=principal.user.pk).aupdate(is_active=False)


async def change_password(principal):
    principal.user.set_password("other")
    await principal.user.asave()


async def remove_permissions(principal):
    await principal.user.user_permissions.aclear()


# The account, how it logs in, what happens after that, and the principal in the tables.
PRINCIPALS = {
    "anonymous": (None, nothing, nothing, "anonymous"),
    "owner": ("user", with_session, nothing, "owner"),
    "owner by password": ("user", with_password, nothing, "owner"),
    "other": ("other_user", with_session, nothing, "other"),
    "other by password": ("other_user", with_password, nothing, "other"),
    "staff": ("clerk", with_session, nothing, "staff"),
    "viewer": ("viewer", with_session, nothing, "viewer"),
    "viewer without permissions": ("viewer", with_session, remove_permissions, "staff"),
    "logged out": ("user", with_session, end_session, "revoked"),
    "deactivated": ("user", with_session, deactivate, "revoked"),
    "deactivated by password": ("user", with_password, deactivate, "revoked"),
    "deactivated viewer": ("viewer", with_session, deactivate, "revoked"),
    "new password": ("user", with_session, change_password, "revoked"),
    "old password": ("user", with_password, change_password, "revoked"),
    "ticket": ("user", ticket_of_session, nothing, "ticket"),
    "ticket of a password": ("user", ticket_of_password, nothing, "ticket"),
    "ticket of a viewer": ("viewer", ticket_of_session, nothing, "ticket"),
    "ticket of another job": ("other_user", ticket_of_another_job, nothing, "revoked"),
    "ticket after the logout": ("user", ticket_of_session, end_session, "revoked"),
    "ticket after a deactivation": ("user", ticket_of_password, deactivate, "revoked"),
    "ticket after a new password": ("user", ticket_of_password, change_password, "revoked"),
}


@pytest.fixture(params=PRINCIPALS)
async def principal(request, job, user, other_user, clerk, viewer):
    """The principal, and its column in the tables."""
    users = {"user": user, "other_user": other_user, "clerk": clerk, "viewer": viewer}
    account, log_in, revoke, column = PRINCIPALS[request.param]
    principal = Principal(users.get(account))
    await log_in(principal)
    await revoke(principal)
    if principal.ticket:
        principal.cookie = ""
    return principal, column


async def test_routes(principal):
    principal, column = principal
    # A password is for the API only.
    names = [name for name in ROUTES if not principal.authorization or name in API]
    expected = {(n, method): ROUTES[n][method][column] for n in names for method in ROUTES[n]}
    found = {}
    for name, method in expected:
        path = await in_thread(path_of)(name)
        found[name, method] = await principal.outcome(method, name, path, QUERIES.get(name, ""))
    assert found == expected


@pytest.mark.parametrize("principal", ["anonymous", "owner", "other", "ticket"], indirect=True)
async def test_methods_without_an_entry(principal):
    principal, _column = principal
    for name in {**API, **PAGES, **LOGOUT}:
        path = await in_thread(path_of)(name)
        for method in set(METHODS) - set(ROUTES[name]):
            response, text = await principal.request(method, path, QUERIES.get(name, ""))
            assert SECRET not in text
            allowed = {200} if method in ("head", "options", "put") else set()
            assert response.status_code in {302, 401, 403, 404, 405} | allowed, (name, method)


async def message_of(principal, path, message=None):
    """Return SHOWN if the socket sends the log, else HIDDEN."""
    headers = {"cookie": principal.cookie, "authorization": principal.authorization}
    encoded = [(name.encode(), value.encode()) for name, value in headers.items() if value]
    socket = Socket(path, [(b"origin", ORIGIN), *encoded])
    if await socket.connect() is not None:
        return HIDDEN
    if message is not None:
        await socket.send(text=json.dumps(message))
    is_shown = is_closed = False
    while not (is_shown or is_closed):
        received = await socket._output()
        text = received.get("text", '{"type": "close"}')
        is_shown, is_closed = SECRET in text, json.loads(text)["type"] in ("error", "close")
    await socket.disconnect()
    return SHOWN if is_shown else HIDDEN


async def test_sockets(principal):
    principal, column = principal
    expected = SHOWN if LIVE[column] == SHOWN else HIDDEN
    ticket = {"ticket": principal.ticket} if principal.ticket else {}
    query = f"ticket={principal.ticket}" if principal.ticket else ""
    subscribe = {"action": "subscribe", "job_id": "abc", **ticket}
    for path, message in (
        (f"/ws/jobs/abc/?{query}", None),
        (f"/ws/jobs/abc/?replay=1&speed=10000&{query}", None),
        ("/ws/events/", subscribe),
    ):
        assert await message_of(principal, path, message) == expected, path


async def test_replays(principal):
    principal, column = principal
    path = "/api/jobs/abc/events/stream/"
    found = await principal.outcome("get", "", path, "replay=1&speed=10000")
    assert found == LIVE[column]


# Contents of lists


@pytest.mark.parametrize("name", ["api-job-list", "api-job-counts", "api-events", "list"])
@pytest.mark.parametrize("query", ["", f"?search={SECRET}", f"?event_type={SECRET}", "?owner=anna"])
def test_lists_contain_visible_jobs_only(user, other_user, job, name, query):
    text = {}
    for account in (user, other_user):
        client = Client()
        client.force_login(account)
        response = client.get(path_of(name) + query)
        text[account] = response.text
    if response.status_code == 200:
        assert ('"cancelled":1' if name == "api-job-counts" else SECRET) in text[user]
    # The page repeats the query.
    assert SECRET not in text[other_user] or (name == "list" and query)
    assert "/jobs/job/abc/" not in text[other_user]
    assert '"cancelled":1' not in text[other_user]
    assert '"results":[{' not in text[other_user] or '"job_id":"other"' in text[other_user]


@pytest.mark.parametrize("query", ["job=abc", "job=other&job=abc", "job=abc&job=other"])
def test_stream_of_several_jobs_requires_access_to_all(client, other_user, job, query):
    client.force_login(other_user)
    response = client.get(f"/api/events/stream/?{query}")
    assert response.status_code == 404
    assert SECRET not in response.text
