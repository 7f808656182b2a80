"""The logs: archived position, events in the outbox, and errors."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from events.admin.base import LargeTableAdmin, ReadOnlyAdmin
from events.admin.cells import EMPTY, text_html, time_column, time_html
from events.models import ArchivedEvent, EventLog
from events.processor.status import stalled_checkpoints


class StateFilter(admin.SimpleListFilter):
    """Filters the logs that are stalled, deleted or have events in the outbox."""

    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("stalled", _("Stalled")),
            ("outbox", _("Events in the outbox")),
            ("deleted", _("Deleted")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "stalled":
            return queryset.filter(archived__in=stalled_checkpoints())
        if self.value() == "outbox":
            return queryset.filter(pk__in=_pending().values("log"))
        if self.value() == "deleted":
            return queryset.filter(deleted_at__isnull=False)
        return queryset


def _pending() -> QuerySet[ArchivedEvent]:
    return ArchivedEvent.objects.filter(event_id=None)


@admin.register(EventLog)
class EventLogAdmin(ReadOnlyAdmin, LargeTableAdmin):
    """The logs: archived position, events in the outbox, and errors."""

    list_display = ("job_id", "position", "pending", "short_error", "stalled_since")
    list_filter = (StateFilter,)
    search_fields = ("job_id__startswith",)
    search_help_text = gettext_lazy("Search by the start of a job id.")
    ordering = ("-pk",)
    sortable_by = ("job_id",)
    readonly_fields = (
        "position", "pending", "error", "stalled_since", "truncated_before", "deleted", "erased",
    )  # fmt: skip
    fields = ("job_id", "sequence", *readonly_fields)

    deleted = time_column("deleted_at", gettext_lazy("deleted"))
    erased = time_column("erased_at", gettext_lazy("erased"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        of_log = _pending().filter(log=OuterRef("pk")).order_by().values("log")
        pending = Subquery(of_log.annotate(count=Count("pk")).values("count"))
        logs = super().get_queryset(request).select_related("archived")
        annotated: QuerySet[Any] = logs.annotate(pending=Coalesce(pending, 0))
        return annotated

    @admin.display(description=gettext_lazy("archived up to"))
    def position(self, log: Any) -> str:
        position = getattr(_checkpoint(log), "position", EMPTY)
        return format_html('<span class="job-events-id">{}</span>', position)

    @admin.display(description=gettext_lazy("in the outbox"))
    def pending(self, log: Any) -> int:
        return int(log.pending)

    @admin.display(description=gettext_lazy("error"))
    def short_error(self, log: Any) -> str:
        return Truncator(_error(log)).chars(100) or EMPTY

    @admin.display(description=gettext_lazy("error"))
    def error(self, log: Any) -> str:
        return text_html(_error(log))

    @admin.display(description=gettext_lazy("stalled since"))
    def stalled_since(self, log: Any) -> str:
        return time_html(getattr(_checkpoint(log), "failed_at", None))


def _error(log: Any) -> str:
    return getattr(_checkpoint(log), "error", "")


def _checkpoint(log: Any) -> Any:
    """The archive checkpoint of a log; None if nothing of it was archived yet."""
    return getattr(log, "archived", None)
