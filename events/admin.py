"""Read-only admin of the log: its status, processors and logs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db.models import Count, Model, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.formats import date_format, localize
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from events.counts import CappedPaginator
from events.database import aware_time, now_expression
from events.live.rejection import guard_page
from events.models import ArchivedEvent, EventLog, Processor
from events.processor.report import duration_text, loop_text, loss_text, redis_text
from events.processor.status import (
    MAX_DEAD_AGE,
    LogStatus,
    alive_range,
    get_status,
    stalled_checkpoints,
)


class GuardedAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable
    """An admin that sends the status 503 while Redis or the database fails."""

    def get_urls(self) -> list[URLPattern]:
        urls = super().get_urls()
        for each in urls:
            each.callback = guard_page(each.callback, "job_events/unavailable.html")
        return urls


class LargeTableAdmin(GuardedAdmin):
    """An admin whose list ends after MAX_COUNT rows."""

    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        changes: Any = getattr(response, "context_data", {}).get("cl")
        if changes is not None and changes.paginator.has_more:
            text = _("The list shows the first %(count)d rows. Search or filter to find others.")
            self.message_user(request, text % {"count": changes.result_count})
        return response


class ReadOnlyAdmin(GuardedAdmin):
    """An admin without add, change and delete permission."""

    class Media:
        css = {"all": ("job_events/admin-status.css",)}  # noqa: RUF012

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    has_add_permission = has_delete_permission = has_change_permission


@dataclass(frozen=True, slots=True)
class StatusFigure:
    """A number of the status page; `state` is "good", "bad" or "unknown"."""

    label: str
    value: str
    detail: str
    state: str


@admin.register(Processor)
class ProcessorAdmin(ReadOnlyAdmin):
    """The status of the log above the list of processors."""

    change_list_template = "job_events/admin_status.html"
    list_display = ("name", "alive", "heartbeat", "started_at", "relay", "archiver")
    list_display_links = None
    ordering = ("-heartbeat_at", "name")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        status = get_status()
        context = {
            "title": _("Log status"),
            "status": status,
            "figures": list(figures(status)),
            "losses": [(loss, loss_text(loss)) for loss in status.losses],
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        recent = (
            super().get_queryset(request).filter(heartbeat_at__gt=now_expression() - MAX_DEAD_AGE)
        )
        annotated: QuerySet[Any] = recent.annotate(now=now_expression())
        return annotated

    @admin.display(description=gettext_lazy("alive"), boolean=True)
    def alive(self, processor: Any) -> bool:
        first, last = alive_range(processor.now)
        return bool(first <= processor.heartbeat_at <= last)

    @admin.display(description=gettext_lazy("last heartbeat"), ordering="heartbeat_at")
    def heartbeat(self, processor: Any) -> str:
        age = max((processor.now - processor.heartbeat_at).total_seconds(), 0.0)
        return _("%(duration)s ago") % {"duration": duration_text(age)}

    @admin.display(description=gettext_lazy("relay"))
    def relay(self, processor: Processor) -> str:
        return _loop(processor, "relay")

    @admin.display(description=gettext_lazy("archiver"))
    def archiver(self, processor: Processor) -> str:
        return _loop(processor, "archiver")


def _loop(processor: Processor, name: str) -> str:
    loop = processor.loops.get(name)
    return loop_text(loop) if loop else "-"


def figures(status: LogStatus) -> Iterator[StatusFigure]:
    """The numbers of the status page."""
    redis, outbox, archive = status.redis, status.outbox, status.archive
    label, stalled = _("Redis memory"), status.stalled_count
    if redis.error:
        yield StatusFigure(label, "?", redis.error, "unknown")
    else:
        share = f"{redis.used / redis.limit:.0%}" if redis.limit else "-"
        yield StatusFigure(label, share, redis_text(redis), _state(bool(redis.refusal)))
    detail = _with_age(_("committed events not yet read from a stream"), outbox.oldest_age)
    yield StatusFigure(_("Outbox"), localize(outbox.depth or 0), detail, _state(outbox.late))
    label = _("Streams behind")
    if archive.error:
        yield StatusFigure(label, "?", archive.error, "unknown")
    else:
        behind = f"{localize(archive.behind)}{'' if archive.complete else '+'}"
        detail = _with_age(_("streams with entries that are not archived"), archive.oldest_age)
        yield StatusFigure(label, behind, detail, _state(archive.late))
    detail = _("not archived until the error is resolved")
    yield StatusFigure(_("Stalled logs"), localize(stalled), detail, _state(stalled > 0))
    lost, detail = status.loss_count, _("gaps in logs, of the last 24 hours")
    yield StatusFigure(_("Lost events"), localize(lost), detail, _state(lost > 0))


def _state(is_bad: bool) -> str:
    return "bad" if is_bad else "good"


def _with_age(detail: str, age: float | None) -> str:
    if age is None:
        return detail
    return _("%(detail)s; the oldest for %(age)s") % {"detail": detail, "age": duration_text(age)}


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

    list_display = ("job_id", "position", "pending", "short_error", "failed_at")
    list_filter = (StateFilter,)
    search_fields = ("job_id__startswith",)
    search_help_text = gettext_lazy("Search by the start of a job id.")
    ordering = ("-pk",)
    sortable_by = ("job_id",)
    readonly_fields = ("position", "pending", "error", "failed_at")
    fields = (
        "job_id", *readonly_fields, "sequence", "truncated_before", "deleted_at", "erased_at",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        of_log = _pending().filter(log=OuterRef("pk")).order_by().values("log")
        pending = Subquery(of_log.annotate(count=Count("pk")).values("count"))
        logs = super().get_queryset(request).select_related("archived")
        annotated: QuerySet[Any] = logs.annotate(pending=Coalesce(pending, 0))
        return annotated

    @admin.display(description=gettext_lazy("archived up to"))
    def position(self, log: Any) -> str:
        position = getattr(_checkpoint(log), "position", "-")
        return format_html('<span class="log-position">{}</span>', position)

    @admin.display(description=gettext_lazy("in the outbox"))
    def pending(self, log: Any) -> int:
        return int(log.pending)

    @admin.display(description=gettext_lazy("error"))
    def short_error(self, log: Any) -> str:
        return Truncator(self.error(log)).chars(100)

    @admin.display(description=gettext_lazy("error"))
    def error(self, log: Any) -> str:
        return getattr(_checkpoint(log), "error", "") or "-"

    @admin.display(description=gettext_lazy("stalled since"))
    def failed_at(self, log: Any) -> str:
        since = getattr(_checkpoint(log), "failed_at", None)
        return (
            date_format(timezone.localtime(aware_time(since)), "DATETIME_FORMAT") if since else "-"
        )


def _checkpoint(log: Any) -> Any:
    """The archive checkpoint of a log; None if nothing of it was archived yet."""
    return getattr(log, "archived", None)
