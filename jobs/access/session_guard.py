"""Whether those who view jobs may still do so.

A connection lasts for hours, in which its user may log out, be deactivated, or lose a job. In each
event loop a guard asks the database every few seconds who of the users is active, which of their
logins are good, and whose the jobs are: three queries, however many connections there are. Whoever
is concerned by a change, and everybody once a minute, is looked up by `visible_jobs`.

A database that does not answer closes nobody: it is asked again.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from importlib import import_module
from time import monotonic
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieSessions
from django.db import connection
from django.db.models import Model
from django.utils import timezone
from django.utils.functional import LazyObject

from events.exceptions import EventsError
from events.per_loop import PerLoop
from jobs.conf import job_settings
from jobs.execution.auto_cancel import record_watched
from jobs.models import Job
from jobs.selectors import fetch_in_chunks, sees_all, visible_jobs

logger = logging.getLogger(__name__)

OnRevoked = Callable[[str | None], object]


class Connection:
    """What one connection was let in with, and the jobs that it views; making it asks the database.

    `login` is the session, or the row of the token, by which its user was known, if there is one.
    """

    __slots__ = (
        "checked_at", "job_ids", "on_revoked", "owners", "password", "session_key", "token", "user",
    )  # fmt: skip

    def __init__(self, user: Any, login: Any = None) -> None:
        self.user = _itself(user)
        self.job_ids = frozenset[str]()
        self.token = login if isinstance(login, Model) else None
        is_of_session = self.token is None and _names(login, user)
        self.session_key: str | None = login.session_key if is_of_session else None
        self.password = _password(user)
        self.owners: dict[str, Any] = {}
        self.checked_at = monotonic()
        self.on_revoked: OnRevoked = lambda _job_id: None


def _itself(user: Any) -> Any:
    """The user, without what looks it up on demand, which would keep its request for hours."""
    if isinstance(user, LazyObject) and user.pk is not None:
        return cast(Any, user)._wrapped  # noqa: SLF001 - there is no other way to it
    return user


def _names(session: Any, user: Any) -> bool:
    """Whether this is a session in which the user is logged in; asks the database."""
    return hasattr(session, "session_key") and session.get(SESSION_KEY) == str(user.pk)


def _password(user: Any) -> str | None:
    """What changes when the user's password does, which ends all sessions but the present one."""
    hashed = getattr(user, "get_session_auth_hash", None)
    return hashed() if hashed is not None else None


class SessionGuard:
    """Looks after the connections of an event loop, as long as there are any."""

    def __init__(self, forget: Callable[[], None]) -> None:
        self._forget = forget
        self._admissions: set[Connection] = set()
        self._task: asyncio.Task[None] | None = None

    def admit(self, admission: Connection) -> None:
        """Look after it."""
        self._admissions.add(admission)
        if self._task is None:
            self._task = asyncio.create_task(self._watch())

    def dismiss(self, admission: Connection) -> None:
        """It is gone; with the last one, so is the guard."""
        self._admissions.discard(admission)
        if not self._admissions and self._task is not None:
            self._forget()
            self._task.cancel()
            self._task = None

    async def _watch(self) -> None:
        while True:
            if job_settings.CANCEL_UNWATCHED:
                await sync_to_async(_say_watched, thread_sensitive=False)(list(self._admissions))
            await asyncio.sleep(job_settings.RECHECK_LOGINS)
            try:
                look = sync_to_async(_look, thread_sensitive=False)
                revoked = await look(list(self._admissions))
            except Exception:  # the database is away
                logger.exception("access_not_known")
                continue
            for admission, job_id in revoked:
                if admission in self._admissions:
                    logger.info("access_revoked", extra={"job_id": job_id})
                    admission.on_revoked(job_id)


def guarded(admission: Connection, on_revoked: OnRevoked) -> AbstractContextManager[None]:
    """Call `on_revoked` with the job that is not to be seen any more; None if it is the login."""
    guards = cast(PerLoop[SessionGuard], cast(Any, apps.get_app_config("job_events_jobs")).guards)
    admission.on_revoked = on_revoked
    return _Guarded(guards.of_running_loop(SessionGuard), admission)


class _Guarded:
    """Small: there is one for each connection."""

    __slots__ = ("_admission", "_guard")

    def __init__(self, guard: SessionGuard, admission: Connection) -> None:
        self._guard = guard
        self._admission = admission

    def __enter__(self) -> None:
        self._guard.admit(self._admission)

    def __exit__(self, *_exception: object) -> None:
        self._guard.dismiss(self._admission)


Revoked = list[tuple[Connection, str | None]]


def _say_watched(admissions: Collection[Connection]) -> None:
    try:
        record_watched({job_id for each in admissions for job_id in each.job_ids})
    except EventsError as error:
        logger.warning("watched_not_said", extra={"error": str(error)})


def _look(admissions: Collection[Connection]) -> Revoked:
    """Which logins are good no more, and which jobs may not be seen any more by whom."""
    try:
        users = _users({admission.user.pk for admission in admissions})
        is_good = _good_logins(admissions)
        owners = _owners({job_id for each in admissions for job_id in each.job_ids})
        revoked: Revoked = []
        concerned = defaultdict[Any, list[Connection]](list)
        for admission in admissions:
            user = users.get(admission.user.pk)
            if user is None or not is_good(admission) or _is_shut_out(admission, user):
                revoked.append((admission, None))
            elif _is_due(admission, user, owners):
                concerned[user.pk].append(admission)
        for user_pk, theirs in concerned.items():
            revoked += _lost(users[user_pk], theirs)
        return revoked
    finally:
        connection.close()


def _is_shut_out(admission: Connection, user: Any) -> bool:
    is_other = admission.session_key is not None and _password(user) != admission.password
    return is_other or not user.is_active


def _is_due(admission: Connection, user: Any, owners: dict[str, Any]) -> bool:
    """Whether something has changed, or a minute is over."""
    theirs = {job_id: owners.get(job_id) for job_id in admission.job_ids}
    is_same = theirs == admission.owners and _rank(user) == _rank(admission.user)
    admission.user, admission.owners = user, theirs
    now = monotonic()
    if is_same and now < admission.checked_at + job_settings.RECHECK_JOBS:
        return False
    admission.checked_at = now
    return True


def _rank(user: Any) -> tuple[Any, Any]:
    return getattr(user, "is_superuser", None), sees_all(user)


def _lost(user: Any, admissions: Iterable[Connection]) -> Iterator[tuple[Connection, str]]:
    wanted = {job_id for each in admissions for job_id in each.owners}
    jobs = visible_jobs(user)
    seen = fetch_in_chunks(
        wanted, lambda some: jobs.filter(job_id__in=some).values_list("job_id", "pk")
    )
    for admission in admissions:
        for job_id in admission.owners:
            if job_id not in seen:
                yield admission, job_id


def _users(keys: Iterable[Any]) -> dict[Any, Any]:
    users = get_user_model()._default_manager  # noqa: SLF001 - Django documents it
    return fetch_in_chunks(keys, lambda some: users.in_bulk(some).items())


def _owners(job_ids: Iterable[str]) -> dict[str, Any]:
    jobs = Job.objects.values_list("job_id", "owner_id")
    return fetch_in_chunks(job_ids, lambda some: jobs.filter(job_id__in=some))


def _good_logins(admissions: Iterable[Connection]) -> Callable[[Connection], bool]:
    """Asks of all sessions at once, and of all tokens of a kind; says which of them are there."""
    sessions = _sessions({each.session_key for each in admissions if each.session_key})
    of_kind = defaultdict[type[Model], set[Any]](set)
    for each in admissions:
        if each.token is not None:
            of_kind[type(each.token)].add(each.token.pk)
    tokens = {
        kind: fetch_in_chunks(keys, partial(_rows, kind)) for kind, keys in of_kind.items()
    }  # a kind, then a key

    def is_good(admission: Connection) -> bool:
        if admission.token is not None:
            return admission.token.pk in tokens[type(admission.token)]
        return admission.session_key is None or admission.session_key in sessions

    return is_good


def _rows(kind: type[Model], keys: list[Any]) -> Iterable[tuple[Any, Any]]:
    rows = kind._default_manager.filter(pk__in=keys)  # noqa: SLF001 - as above
    return rows.values_list("pk", "pk")


def _sessions(keys: Collection[str]) -> Collection[str]:
    store = import_module(job_settings.SESSION_ENGINE).SessionStore
    if issubclass(store, CookieSessions):  # nobody but the browser knows of them
        return keys
    if hasattr(store, "get_model_class"):
        rows = store.get_model_class().objects.filter(expire_date__gt=timezone.now())
        ask = rows.values_list("session_key", "session_key")
        return fetch_in_chunks(keys, lambda some: ask.filter(session_key__in=some))
    return {key for key in keys if store().exists(key)}
