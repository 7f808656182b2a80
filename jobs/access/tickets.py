"""Tickets: the signed right to watch one job, for those who can send neither cookie nor header.

An EventSource and a browser's WebSocket are such. A ticket stands in the address, so it is good for
a minute only, for one user and one job. What the user may see is looked up when it is shown.
"""

from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core import signing
from django.core.exceptions import ValidationError

from jobs.exceptions import InvalidTicket

SECONDS: Final = 60
_SALT: Final = "jobs.access.tickets"
_REFUSAL: Final = "The ticket is not one for this job, or its minute is over: ask for another."


def make_ticket(user: Any, job_id: str) -> str:
    """A ticket with which a user may watch a job; safe in an address."""
    return signing.dumps([str(user.pk), job_id], salt=_SALT, compress=False)


def user_of_ticket(ticket: str, job_id: str) -> Any:
    """Whose ticket for this job it is; InvalidTicket if it is none."""
    try:
        holder, named = signing.loads(ticket, salt=_SALT, max_age=SECONDS)
        if named == job_id:
            users = get_user_model()._default_manager  # noqa: SLF001 - Django documents it
            user = users.get(pk=holder)
            if user.is_active:  # a column, or a constant of the model
                return user
    except (signing.BadSignature, get_user_model().DoesNotExist, ValidationError):
        pass
    raise InvalidTicket(_REFUSAL)
