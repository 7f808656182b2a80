"""Logins: what authenticated a user, and whether it still exists.

A user has logged in with a session, the row of a token, or a password (Basic authentication). A
session also ends when the password changes. A ticket has the logins of the request that created it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from importlib import import_module
from typing import Any, Final, NamedTuple

from django.apps import apps
from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieSessions
from django.db.models import Model
from django.utils import timezone

from events.database import primary_rows
from jobs.conf import job_settings
from jobs.models import Ticket
from jobs.selectors import fetch_in_chunks

SESSION: Final = "session"  # its key
PASSWORD: Final = "password"  # noqa: S105 - the hash that Django's sessions contain
TICKET: Final = "ticket"  # its primary key, and the id of the connection that uses it


class Login(NamedTuple):
    """A kind, one of the above or the label of a token's model, and a key of this kind."""

    kind: str
    key: Any


Logins = frozenset[Login]


def stored_user(user: Any) -> Any:
    """Return the row of a user; a stateless token authenticates an object that is no model."""
    if user is None or isinstance(user, Model | AnonymousUser):
        return user
    rows: Any = primary_rows(get_user_model())
    return rows.filter(pk=getattr(user, "pk", None)).first() or AnonymousUser()


def logins_of(user: Any, session: Any = None, token: Any = None) -> Logins:
    """Return the logins of an authenticated user. May load the session from the database."""
    if isinstance(token, Model):
        return frozenset({Login(token._meta.label, str(token.pk))})  # noqa: SLF001 - documented by Django
    password = _password(user)
    # A session in a cookie exists in the browser only.
    is_stored = session is not None and not isinstance(session, CookieSessions)
    if is_stored and session.get(SESSION_KEY) == str(user.pk):
        return frozenset({password, Login(SESSION, session.session_key)})
    return frozenset({password})


def existing_logins(logins: Iterable[Login]) -> Collection[Login]:
    """Return those that exist, of all kinds except passwords; one query for each kind."""
    keys_of = defaultdict[str, set[Any]](set)
    for kind, key in logins:
        keys_of[kind].add(key)
    return {Login(kind, key) for kind, keys in keys_of.items() for key in _existing(kind, keys)}


def is_logged_in(user: Any, logins: Logins, existing: Collection[Login]) -> bool:
    """Return whether a user, as loaded just now, is active and none of the logins has ended."""
    if not user.is_active:
        return False
    return all(login in existing or login == _password(user) for login in logins)


def _password(user: Any) -> Login:
    """Return the login that ends when the password changes."""
    compute = getattr(user, "get_session_auth_hash", None)
    return Login(PASSWORD, compute() if compute is not None else "")


def _existing(kind: str, keys: Collection[Any]) -> Collection[Any]:
    if kind == PASSWORD:
        return ()
    if kind == SESSION:
        return _sessions(keys)
    if kind == TICKET:
        return _tickets(keys)
    try:
        model = apps.get_model(kind)
    except LookupError:  # its app is no longer installed
        return ()
    return {str(pk) for pk in _rows(model, keys)}


def _tickets(keys: Collection[Any]) -> Collection[Any]:
    rows = Ticket.objects.values_list("pk", "connection")
    pks = {pk for pk, _connection in keys}
    return fetch_in_chunks(pks, lambda chunk: rows.filter(pk__in=chunk)).items()


def _sessions(keys: Collection[str]) -> Collection[str]:
    """Return the keys of the sessions that exist and have not expired."""
    store = import_module(job_settings.SESSION_ENGINE).SessionStore
    if hasattr(store, "get_model_class"):
        return _rows(store.get_model_class(), keys, expire_date__gt=timezone.now())
    return {key for key in keys if store().exists(key)}


def _rows(model: type[Model], keys: Iterable[Any], **conditions: Any) -> Collection[Any]:
    """Return the primary keys of those of the rows that exist and meet the conditions."""
    pks = primary_rows(model).filter(**conditions).values_list("pk", "pk")
    return fetch_in_chunks(keys, lambda chunk: pks.filter(pk__in=chunk))
