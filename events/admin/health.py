"""The page "Health": state of processors, outbox, archive, Redis and database."""

from collections.abc import Callable
from contextlib import nullcontext
from threading import Lock
from time import monotonic
from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.functional import lazy
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from events.admin.base import ReadOnlyAdmin
from events.admin.cards import STATE_LABELS, cards, warnings
from events.admin.cells import EMPTY, text_html, time_column, time_html
from events.database import atomic, now_expression, write_connection
from events.models import Processor
from events.processor.health import CRITICAL, OK, UNKNOWN, health, status_cache, worst_state
from events.processor.report import duration_text, loop_text, loss_text
from events.processor.status import MAX_DEAD_AGE, LogStatus, alive_range
from events.translation import translated

_CACHE_SECONDS: Final = 5.0
_MARKS: Final = {CRITICAL: "\N{LARGE RED CIRCLE}", UNKNOWN: "\N{LARGE RED CIRCLE}"}
_OTHER_MARK: Final = "\N{LARGE ORANGE CIRCLE}"

# Functions from a request to the URL and text of a link above the cards, or None.
page_links: Final[list[Callable[[HttpRequest], tuple[str, str] | None]]] = []


class WorstState:
    """The worst state of the health items, queried at most once in some seconds per process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._expires = float("-inf")
        self._state = OK

    def get(self) -> str:
        """Return the state; "unknown" if the query fails.

        Threads that call this during a query get the previous state.
        """
        if monotonic() > self._expires and self._lock.acquire(blocking=False):
            try:
                self._state = self._query()
                self._expires = monotonic() + _CACHE_SECONDS
            finally:
                self._lock.release()
        return self._state

    def clear(self) -> None:
        """Discard the state."""
        self._expires = float("-inf")

    def _query(self) -> str:
        try:
            # In a transaction, for example of ATOMIC_REQUESTS, an error must not break it.
            with atomic() if write_connection().in_atomic_block else nullcontext():
                # An item may stay unknown, for example if the Redis user may not run INFO.
                return worst_state(item for item in health() if item.state != UNKNOWN)
        except Exception:  # noqa: BLE001 - every page of the admin displays the state
            return UNKNOWN


worst_health: Final = WorstState()


def health_name() -> str:
    """Return the name of the entry in the index and the sidebar of the admin."""
    state = worst_health.get()
    if state == OK:
        return _("Health")
    mark = _MARKS.get(state, _OTHER_MARK)
    return _("Health: %(state)s") % {"state": f"{mark} {STATE_LABELS[state]}"}


# Every admin site and template displays this name. Migrations have the original one.
Processor._meta.verbose_name_plural = lazy(health_name, str)()  # noqa: SLF001 - documented by Django


@admin.register(Processor)
class ProcessorAdmin(ReadOnlyAdmin):
    """The health of the log above the list of processors."""

    change_list_template = "job_events/admin_health.html"
    list_display = ("name", "alive", "heartbeat", "started", "relay", "archiver")
    list_display_links = None
    list_per_page = 1000
    ordering = ("-heartbeat_at", "name")
    fields = ("name", "started", "last_heartbeat", "all_loops")
    readonly_fields = fields

    started = time_column("started_at", gettext_lazy("started"), sorts=True)
    last_heartbeat = time_column("heartbeat_at", gettext_lazy("last heartbeat"))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        items, status = health(), status_cache.get()
        context = {
            "title": _("Health"),
            "state": worst_state(items),
            "problems": [(each, time_html(each.since)) for each in status.problems],
            "warnings": list(warnings(items, {each.description for each in status.problems})),
            "cards": list(cards(items)),
            "links": list(filter(None, (link(request) for link in page_links))),
            **_lost_and_stalled(status),
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
    def heartbeat(self, processor: Any) -> SafeString:
        age = max((processor.now - processor.heartbeat_at).total_seconds(), 0.0)
        text = _("%(duration)s ago") % {"duration": duration_text(age)}
        return format_html("{}<br>{}", time_html(processor.heartbeat_at), text)

    @admin.display(description=gettext_lazy("relay"))
    def relay(self, processor: Processor) -> str:
        return _loop(processor, "relay")

    @admin.display(description=gettext_lazy("archiver"))
    def archiver(self, processor: Processor) -> str:
        return _loop(processor, "archiver")

    @admin.display(description=gettext_lazy("loops"))
    def all_loops(self, processor: Processor) -> SafeString | str:
        return loops_html(processor.loops)


def _loop(processor: Processor, name: str) -> str:
    loop = processor.loops.get(name)
    return translated(loop_text(loop)) if loop else EMPTY


def loops_html(loops: dict[str, Any]) -> SafeString | str:
    """Return the stats of each loop in a line."""
    lines = [f"{name}: {translated(loop_text(loop))}" for name, loop in loops.items()]
    return text_html("\n".join(lines))


def _lost_and_stalled(status: LogStatus) -> dict[str, Any]:
    """Return the context of the tables of stalled logs and lost events."""
    return {
        "stalled": [(each, time_html(each.since)) for each in status.stalled],
        "stalled_count": status.stalled_count,
        "losses": [
            (each, time_html(each.detected_at), translated(loss_text(each)))
            for each in status.losses
        ],
    }
