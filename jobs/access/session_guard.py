"""Revocation of access to live connections, which last for hours.

One guard per event loop checks its connections every RECHECK_LOGINS seconds with one query for the
users, one for the owners of the jobs, and one for each kind of login. It evaluates `visible_jobs`
for each user every RECHECK_JOBS seconds, and at once if an owner or the privileges of the user have
changed.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from time import monotonic
from typing import Any, Final, Self, cast

from django.contrib.auth import get_user_model
from django.utils.functional import LazyObject

from events.database import primary_rows
from events.exceptions import EventsError
from events.live.presence import mark_watched
from events.live.threads import in_database_thread
from events.log_format import log_failure
from events.per_loop import LoopService, PerLoop
from jobs.access.logins import Logins, existing_logins, is_logged_in
from jobs.conf import job_settings
from jobs.models import Job
from jobs.selectors import fetch_in_chunks, sees_all, visible_jobs

logger = logging.getLogger(__name__)


class Connection:
    """A live connection: its user, the logins that it needs, and the watched jobs.

    As a context manager it is guarded.
    """

    __slots__ = ("_guard", "job_ids", "logins", "on_revoked", "user")

    def __init__(self, user: Any, logins: Logins = frozenset()) -> None:
        self.user = _unwrapped(user)
        self.logins = logins
        self.job_ids = frozenset[str]()

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
        """Return connections with a login that has ended, and with jobs no longer visible."""
        users = _users({each.user.pk for each in connections})
        # A consumer may add a login meanwhile, which the query does not cover.
        logins_of = {each: each.logins for each in connections}
        existing = existing_logins(login for logins in logins_of.values() for login in logins)
        jobs = Job.objects.values_list("job_id", "owner_id")
        job_ids = {job_id for each in connections for job_id in each.job_ids}
        owners = fetch_in_chunks(job_ids, lambda chunk: jobs.filter(job_id__in=chunk))
        revoked: list[Revocation] = []
        by_user = defaultdict[Any, list[Connection]](list)
        for each in connections:
            user = users.get(each.user.pk)
            if user is not None and is_logged_in(user, logins_of[each], existing):
                each.user = user
                by_user[user.pk].append(each)
            else:
                revoked.append((each, None))
        for pk, of_user in by_user.items():
            revoked += self._invisible(users[pk], of_user, owners)
        self._evaluated = {pk: each for pk, each in self._evaluated.items() if pk in by_user}
        return revoked

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
        revoked: list[Revocation] = [each for each in watched if each[1] not in visible]
        # Repeated until the connections have closed.
        self._evaluated[user.pk] = (None, 0.0) if revoked else (access, monotonic())
        return revoked


guards: Final = PerLoop[SessionGuard]()


def is_revoked(connection: Connection) -> bool:
    """Return whether a login has ended or a job is no longer visible. Runs a few queries."""
    return bool(SessionGuard(lambda: None).check([connection]))


def _unwrapped(user: Any) -> Any:
    """Return the user without the lazy object around it, which would keep the request alive."""
    if isinstance(user, LazyObject) and user.pk is not None:
        return cast(Any, user)._wrapped  # noqa: SLF001 - there is no public access
    return user


def _users(keys: Iterable[Any]) -> dict[Any, Any]:
    users = primary_rows(get_user_model())
    return fetch_in_chunks(keys, lambda chunk: users.in_bulk(chunk).items())
