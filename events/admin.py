"""The log in the Django admin, to look at: is it processed, what waits, what is stuck and why."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Count, Model, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.formats import date_format, localize
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from events.models import ArchivedEvent, EventLog, Processor
from events.processor.status import (
    ALIVE_SECONDS,
    ArchiveStatus,
    LogStatus,
    OutboxStatus,
    alive_since,
    get_status,
    stalled_positions,
)
from events.processor.status_text import duration_text, loop_text

# Django's classes take their model as a parameter only in the eyes of a type checker.
if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Model]
else:
    _Admin = admin.ModelAdmin


class ReadOnlyAdmin(_Admin):
    """Nobody changes the log by hand."""

    class Media:
        css = {"all": ("job_events/admin-status.css",)}  # noqa: RUF012

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse."""
        return False


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of the status with what it is of; `state` is "good", "bad" or "unknown"."""

    label: str
    value: str
    detail: str
    state: str


@admin.register(Processor)
class ProcessorAdmin(ReadOnlyAdmin):
    """Who processes the log, below how the log does."""

    change_list_template = "job_events/admin_status.html"
    list_display = ("name", "alive", "seen", "started_at", "relay", "archiver")
    list_display_links = None
    ordering = ("-heartbeat_at", "name")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, with the status on top."""
        response = super().changelist_view(request, extra_context)
        if isinstance(response, TemplateResponse) and response.context_data is not None:
            status = get_status()
            response.context_data |= {
                "title": _("How the log does"),
                "status": status,
                "figures": list(figures(status)),
                "alive_seconds": ALIVE_SECONDS,
            }
        return response

    @admin.display(description=gettext_lazy("alive"), boolean=True)
    def alive(self, processor: Processor) -> bool:
        """Whether it was seen lately."""
        return processor.heartbeat_at >= alive_since(timezone.now())

    @admin.display(description=gettext_lazy("last seen"), ordering="heartbeat_at")
    def seen(self, processor: Processor) -> str:
        """How long ago it was seen."""
        ago = max((timezone.now() - processor.heartbeat_at).total_seconds(), 0.0)
        return _("%(duration)s ago") % {"duration": duration_text(ago)}

    @admin.display(description=gettext_lazy("relay"))
    def relay(self, processor: Processor) -> str:
        """What the relay did."""
        return _loop(processor, "relay")

    @admin.display(description=gettext_lazy("archiver"))
    def archiver(self, processor: Processor) -> str:
        """What the archiver did."""
        return _loop(processor, "archiver")


def _loop(processor: Processor, name: str) -> str:
    loop = processor.loops.get(name)
    return loop_text(loop) if loop else "-"


def figures(status: LogStatus) -> Iterator[Figure]:
    """The numbers that the page shows."""
    yield _outbox_figure(status.outbox)
    yield _archive_figure(status.archive)
    yield Figure(
        _("Stalled logs"),
        localize(status.stalled_count),
        _("cannot be archived until somebody mends what is wrong"),
        "bad" if status.stalled_count else "good",
    )


def _outbox_figure(outbox: OutboxStatus) -> Figure:
    detail = _("committed events that were not seen in their stream yet")
    state = "bad" if outbox.late else "good"
    return Figure(_("Outbox"), localize(outbox.depth), _aged(detail, outbox.oldest_age), state)


def _archive_figure(archive: ArchiveStatus) -> Figure:
    if archive.error:
        return Figure(_("To archive"), "?", archive.error, "unknown")
    detail = _("entries of streams that are not in the archive yet")
    state = "bad" if archive.late else "good"
    count = localize(archive.entries)
    more = "" if archive.complete else "+"
    return Figure(_("To archive"), f"{count}{more}", _aged(detail, archive.oldest_age), state)


def _aged(detail: str, age: float | None) -> str:
    if age is None:
        return detail
    return _("%(what)s; the oldest for %(age)s") % {"what": detail, "age": duration_text(age)}


class StateFilter(admin.SimpleListFilter):
    """The logs that somebody has to look at."""

    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """What can be chosen."""
        return [("stalled", _("Stalled")), ("outbox", _("Something in the outbox"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The logs in the chosen state."""
        if self.value() == "stalled":
            return queryset.filter(archived__in=stalled_positions())
        if self.value() == "outbox":
            return queryset.filter(pk__in=_pending().values("log"))
        return queryset


def _pending() -> QuerySet[ArchivedEvent]:
    return ArchivedEvent.objects.filter(event_id=None)


@admin.register(EventLog)
class EventLogAdmin(ReadOnlyAdmin):
    """The logs: how far each is archived, and what keeps it."""

    list_display = ("job_id", "position", "pending", "error", "failed_at")
    list_filter = (StateFilter,)
    search_fields = ("job_id__startswith",)
    search_help_text = gettext_lazy("The start of a job id.")
    ordering = ("-pk",)
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    fields = ("job_id", "position", "pending", "whole_fault", "failed_at", "sequence", "cut_at")
    readonly_fields = ("position", "pending", "whole_fault", "failed_at", "cut_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The logs with how far they are archived, and how much is in their outbox."""
        of_log = _pending().filter(log=OuterRef("pk")).order_by().values("log")
        pending = Subquery(of_log.annotate(count=Count("pk")).values("count"))
        logs = super().get_queryset(request).select_related("archived")
        annotated: QuerySet[Any] = logs.annotate(pending=Coalesce(pending, 0))
        return annotated

    @admin.display(description=gettext_lazy("archived up to"))
    def position(self, log: Any) -> str:
        """The position of the archive."""
        archived = _archived(log)
        return format_html(
            '<span class="log-position">{}</span>', archived.position if archived else "-"
        )

    @admin.display(description=gettext_lazy("in the outbox"))
    def pending(self, log: Any) -> int:
        """How many events wait to be appended."""
        return int(log.pending)

    @admin.display(description=gettext_lazy("error"))
    def error(self, log: Any) -> str:
        """Why the log is stalled, cut to the length of a line."""
        return Truncator(self.whole_fault(log)).chars(100)

    @admin.display(description=gettext_lazy("error"))
    def whole_fault(self, log: Any) -> str:
        """Why the log is stalled."""
        archived = _archived(log)
        return (archived.error if archived else "") or "-"

    @admin.display(description=gettext_lazy("stalled since"))
    def failed_at(self, log: Any) -> str:
        """Since when the log is stalled."""
        since = getattr(_archived(log), "failed_at", None)
        return date_format(timezone.localtime(since), "DATETIME_FORMAT") if since else "-"

    @admin.display(description=gettext_lazy("begins at"))
    def cut_at(self, log: Any) -> str:
        """Where the log begins, if it was cut."""
        return str(log.truncated_before)


def _archived(log: Any) -> Any:
    """The position of a log's archive; None if nothing of it was archived yet."""
    return getattr(log, "archived", None)
