"""Base classes of the admin: outages, long lists, read-only models, and inlines."""

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from events.counts import CappedPaginator
from events.live.rejection import guard_page


class GuardedAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable
    """An admin that sends the status 503 while Redis or the database fails."""

    class Media:
        css = {"all": ("job_events/admin.css",)}  # noqa: RUF012

    def get_urls(self) -> list[URLPattern]:
        urls = [*self.further_urls(), *super().get_urls()]
        for each in urls:
            each.callback = guard_page(each.callback, "job_events/unavailable.html")
        return urls

    def further_urls(self) -> list[URLPattern]:
        """Return the routes of a subclass."""
        return []

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list with the name of its rows as title, not "Select … to change"."""
        context = {"title": capfirst(str(self.opts.verbose_name_plural)), **(extra_context or {})}
        return super().changelist_view(request, context)

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Return the inlines, without read-only ones that have no rows."""
        return [each for each in super().get_inlines(request, obj) if _has_content(each, obj)]


def _has_content(inline: type, obj: Any) -> bool:
    return not issubclass(inline, ReadOnlyInline) or getattr(obj, inline.related_name).exists()


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

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    has_add_permission = has_delete_permission = has_change_permission


class ReadOnlyInline(admin.TabularInline):  # type: ignore[type-arg]  # not subscriptable
    """Inline without any editing, visible with the permission to view the object.

    `related_name` is the attribute of the object with the rows.
    """

    related_name = ""
    template = "job_events/admin_inline.html"
    extra = 0
    can_delete = False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_add_permission = has_change_permission

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True
