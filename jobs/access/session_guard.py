"""Revocation of access to live connections, which last for hours.

One guard per event loop checks its connections every RECHECK_LOGINS seconds with three queries:
active users, valid sessions, owners of the jobs. It evaluates `visible_jobs` for each user every
RECHECK_JOBS seconds, and at once if an owner or the privileges of the user have changed.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from importlib import import_module
from time import monotonic
from typing import Any, Final, Self, cast

import django.db
from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieSessions
from django.db.models import Model
from django.utils import timezone
from django.utils.functional import LazyObject

from events.exceptions import EventsError
from events.live.presence import mark_watched
from events.live.threads import in_database_thread
from events.log_format import log_failure
from events.per_loop import LoopService, PerLoop
from jobs.conf import job_settings
from jobs.models import Job
from jobs.selectors import fetch_in_chunks, sees_all, visible_jobs

logger = logging.getLogger(__name__)


class Connection:
    """A live connection: its user, the session or token row of the user, and the watched jobs.

    The constructor may load the session from the database. As a context manager it is guarded.
    """

    __slots__ = ("_guard", "job_ids", "login", "on_revoked", "session_hash", "user")

    def __init__(self, user: Any, login: Any = None) -> None:
        self.user = _unwrapped(user)
        self.job_ids = frozenset[str]()
        # Model (None for a session) and key of what authenticated the user; None for a ticket.
        self.login: tuple[type[Model] | None, Any] | None = None
        self.session_hash: str | None = None
        if isinstance(login, Model):
            self.login = type(login), login.pk
        elif hasattr(login, "session_key") and login.get(SESSION_KEY) == str(user.pk):
            self.login = None, login.session_key
            self.session_hash = _session_hash(user)

    def guarded(self, on_revoked: Callable[[str | None], object]) -> Self:
        """Set the callback for a job_id that is no longer visible; None for an invalid login."""
        self.on_revoked = on_revoked
        return self

    def __enter__(self) -> None:
        self._guard = guards.of_running_loop(SessionGuard)
        self._guard.add(self)

    def __exit__(self, *_exception: object) -> None:
        self._guard.remove(self)


Revocation = tuple[Connection, str | None]


class SessionGuard(LoopService[Connection]):
    """Checks the connections of an event loop while there are any."""

    def __init__(self, forget: Callable[[], None]) -> None:
        super().__init__(forget)
        # Primary key of a user -> what `visible_jobs` was evaluated for, and when.
        self._evaluated: dict[Any, tuple[object, float]] = {}

    async def _run(self) -> None:
        while True:
            if job_settings.AUTO_CANCEL_SECONDS:
                try:
                    job_ids = {job_id for each in self._members for job_id in each.job_ids}
                    await in_database_thread(mark_watched, job_ids)
                except EventsError as error:
                    log_failure(logger, "presence_not_recorded", error)
            await asyncio.sleep(job_settings.RECHECK_LOGINS)
            try:
                revoked = await in_database_thread(self.check, list(self._members))
            except Exception as error:  # noqa: BLE001 - the next check repeats the query
                log_failure(logger, "access_check_failed", error)
                continue
            for connection, job_id in revoked:
                if connection in self._members:
                    logger.info("access_revoked", extra={"job_id": job_id})
                    connection.on_revoked(job_id)

    def check(self, connections: Collection[Connection]) -> list[Revocation]:
        """Return connections with an invalid login, and with jobs that are no longer visible."""
        try:
            users = _users({each.user.pk for each in connections})
            logins = _valid_logins(connections)
            jobs = Job.objects.values_list("job_id", "owner_id")
            job_ids = {job_id for each in connections for job_id in each.job_ids}
            owners = fetch_in_chunks(job_ids, lambda chunk: jobs.filter(job_id__in=chunk))
            revoked: list[Revocation] = []
            by_user = defaultdict[Any, list[Connection]](list)
            for each in connections:
                user = users.get(each.user.pk)
                if user is not None and _is_authenticated(each, user, logins):
                    each.user = user
                    by_user[user.pk].append(each)
                else:
                    revoked.append((each, None))
            for pk, of_user in by_user.items():
                revoked += self._invisible(users[pk], of_user, owners)
            self._evaluated = {pk: self._evaluated[pk] for pk in by_user}
            return revoked
        finally:
            django.db.connection.close()

    def _invisible(
        self, user: Any, connections: Iterable[Connection], owners: dict[str, Any]
    ) -> list[Revocation]:
        watched = [(each, job_id) for each in connections for job_id in each.job_ids]
        job_owners = {job_id: owners.get(job_id) for _, job_id in watched}
        access = (getattr(user, "is_superuser", None), sees_all(user), job_owners)
        evaluated, evaluated_at = self._evaluated.get(user.pk, (None, 0.0))
        if access == evaluated and monotonic() < evaluated_at + job_settings.RECHECK_JOBS:
            return []
        rows = visible_jobs(user).values_list("job_id", "pk")
        visible = fetch_in_chunks(job_owners, lambda chunk: rows.filter(job_id__in=chunk))
        self._evaluated[user.pk] = access, monotonic()
        return [(each, job_id) for each, job_id in watched if job_id not in visible]


guards: Final = PerLoop[SessionGuard]()


def _unwrapped(user: Any) -> Any:
    """Return the user without the lazy object around it, which would keep the request alive."""
    if isinstance(user, LazyObject) and user.pk is not None:
        return cast(Any, user)._wrapped  # noqa: SLF001 - there is no public access
    return user


def _session_hash(user: Any) -> str | None:
    """Return the hash that changes with the password, which invalidates the user's sessions."""
    compute = getattr(user, "get_session_auth_hash", None)
    return compute() if compute is not None else None


def _users(keys: Iterable[Any]) -> dict[Any, Any]:
    users = get_user_model()._default_manager  # noqa: SLF001 - documented by Django
    return fetch_in_chunks(keys, lambda chunk: users.in_bulk(chunk).items())


def _is_authenticated(connection: Connection, user: Any, logins: Collection[object]) -> bool:
    is_valid = connection.login is None or connection.login in logins
    return is_valid and user.is_active and connection.session_hash in (None, _session_hash(user))


def _valid_logins(connections: Iterable[Connection]) -> Collection[object]:
    """Return those of the sessions and tokens that still exist; one query for each model."""
    keys_of = defaultdict[type[Model] | None, set[Any]](set)
    for model, key in filter(None, (each.login for each in connections)):
        keys_of[model].add(key)
    return {
        (model, key)
        for model, keys in keys_of.items()
        for key in (_sessions(keys) if model is None else _existing(model, keys))
    }


def _sessions(keys: Collection[str]) -> Collection[str]:
    """Return the keys of the sessions that exist and have not expired."""
    store = import_module(job_settings.SESSION_ENGINE).SessionStore
    if issubclass(store, CookieSessions):  # stored in the browser only
        return keys
    if hasattr(store, "get_model_class"):
        return _existing(store.get_model_class(), keys, expire_date__gt=timezone.now())
    return {key for key in keys if store().exists(key)}


def _existing(model: type[Model], keys: Iterable[Any], **conditions: Any) -> Collection[Any]:
    """Return the primary keys of those of the rows that exist and meet the conditions."""
    rows = model._default_manager.filter(**conditions)  # noqa: SLF001 - documented by Django
    pks = rows.values_list("pk", "pk")
    return fetch_in_chunks(keys, lambda chunk: pks.filter(pk__in=chunk))
