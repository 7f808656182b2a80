"""Tickets: authorization to watch one job, for clients without cookies and headers.

An EventSource or a browser's WebSocket cannot send headers. A ticket is a parameter of the URL: the
signed key of a row. It must first be used within 60 seconds. After that the same URL may reconnect,
with one connection at a time, until a login of the request that created the ticket ends. Its use
does not bypass `visible_jobs`.
"""

from contextlib import suppress
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist
from django.core.signing import BadSignature, Signer
from django.db.models import Q
from django.db.models.functions import Now

from events.database import primary_rows
from jobs.access.logins import TICKET, Login, Logins, existing_logins, is_logged_in
from jobs.exceptions import InvalidTicket
from jobs.models import Job, Ticket

FIRST_USE_SECONDS: Final = 60
# Of one user and job. A new ticket replaces the oldest, so that the number of rows is bounded.
MAX_TICKETS: Final = 1000
_SALT: Final = "jobs.access.tickets"


def make_ticket(job: Job, user: Any, logins: Logins) -> str:
    """Return a URL-safe ticket with which a user may watch a job while the logins exist."""
    own = Ticket.objects.filter(job=job, user=user)
    surplus = own.order_by("-created_at").values("pk")[MAX_TICKETS - 1 :]
    own.filter(~_usable() | Q(pk__in=surplus)).delete()
    ticket = Ticket.objects.create(job=job, user=user, logins=sorted(logins))
    return Signer(salt=_SALT).sign(ticket.pk.hex)


def use_ticket(ticket: str, job_id: str, connection: UUID) -> tuple[Any, Logins]:
    """Return the user and the logins of a connection that uses a ticket. Raises InvalidTicket.

    The session guard closes another connection that used the ticket before.
    """
    with suppress(BadSignature, ObjectDoesNotExist):
        usable = Ticket.objects.filter(_usable(), pk=UUID(Signer(salt=_SALT).unsign(ticket)))
        row = usable.get(job__job_id=job_id)
        user = primary_rows(get_user_model()).get(pk=row.user_id)
        logins = frozenset(Login(*each) for each in row.logins)
        is_valid = is_logged_in(user, logins, existing_logins(logins))
        if is_valid and usable.update(connection=connection):
            return user, logins | {Login(TICKET, (row.pk, connection))}
    raise InvalidTicket


def _usable() -> Q:
    """Return the condition that a ticket was used, or may still be used for the first time."""
    lifetime = timedelta(seconds=FIRST_USE_SECONDS)
    return Q(connection__isnull=False) | Q(created_at__gt=Now() - lifetime)
