"""Model of tickets."""

import uuid

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from events.database import PrimaryManager
from jobs.conf import user_model
from jobs.models.job import Job


class Ticket(models.Model):
    """Authorization of a user to watch a job; `jobs.access.tickets` writes the rows.

    `logins` are kinds and keys of `jobs.access.logins`. `connection` is the id of the connection
    that used the ticket last.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="+", verbose_name=_("job"))
    user = models.ForeignKey(
        user_model, on_delete=models.CASCADE, related_name="+", verbose_name=_("user")
    )
    logins = models.JSONField(_("logins"))
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    connection = models.UUIDField(_("connection"), null=True)

    objects = PrimaryManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("ticket")
        verbose_name_plural = _("tickets")
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.pk)
