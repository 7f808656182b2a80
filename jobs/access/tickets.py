"""Tickets: signed authorization to watch one job, for clients without cookies and headers.

An EventSource or a browser's WebSocket cannot send headers. A ticket is part of the URL; it is
valid for 60 seconds, for one user and one job. Its use does not bypass `visible_jobs`.
"""

from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core import signing
from django.core.exceptions import ValidationError

from jobs.exceptions import InvalidTicket

SECONDS: Final = 60
_SALT: Final = "jobs.access.tickets"


def make_ticket(user: Any, job_id: str) -> str:
    """Return a URL-safe ticket with which a user may watch a job."""
    return signing.dumps([str(user.pk), job_id], salt=_SALT, compress=False)


def user_of_ticket(ticket: str, job_id: str) -> Any:
    """Return the active user of a ticket for this job. Raises InvalidTicket."""
    try:
        user_pk, ticket_job_id = signing.loads(ticket, salt=_SALT, max_age=SECONDS)
        if ticket_job_id == job_id:
            users = get_user_model()._default_manager  # noqa: SLF001 - documented by Django
            user = users.get(pk=user_pk)
            if user.is_active:  # a column, or a constant of the user model
                return user
    except (signing.BadSignature, get_user_model().DoesNotExist, ValidationError):
        pass
    raise InvalidTicket
